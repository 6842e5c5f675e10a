"""Draw report.png and report.html from the two CSV files, and recommend a setting."""

from gpu_metrics_utils import HERE, read_arguments

if __name__ == "__main__":
    asked = read_arguments(__doc__, objective=True)
    from harness_llm.cli.output import reported_errors
    from harness_llm.power.power_report import write_power_report

    with reported_errors():
        print("\n".join(write_power_report(HERE, asked.objective)))
