"""Write training_stats.csv and inference_stats.csv from what run_experiments.py measured."""

from gpu_metrics_utils import DATA, HERE, read_arguments

if __name__ == "__main__":
    read_arguments(__doc__)
    from harness_llm.cli.output import reported_errors
    from harness_llm.power.stats_files import write_stats

    with reported_errors():
        print("\n".join(write_stats(DATA, HERE)))
