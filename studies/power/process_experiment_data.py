"""Write training_stats.csv and inference_stats.csv from what run_experiments.py measured."""

from gpu_metrics_utils import DATA, HERE, report_errors, use_project

if __name__ == "__main__":
    use_project()
    from harness_llm.power.stats_files import write_stats

    with report_errors():
        print("\n".join(write_stats(DATA, HERE)))
