"""Recommend a setting from the two CSV files; also a module, and importing it reads nothing."""

from gpu_metrics_utils import HERE, read_arguments, use_project

use_project()

from harness_llm.cli.output import reported_errors  # noqa: E402
from harness_llm.power.recommendation import choices_of, read_stats, recommend  # noqa: E402


def calculate_summary(path):
    """The settings in a CSV file, with their means."""
    return choices_of(read_stats(path))


def recommend_sweet_spot(summary, objective="energy"):
    """The setting to take, and why; None where nothing can be recommended."""
    return recommend(summary, objective)


if __name__ == "__main__":
    asked = read_arguments(__doc__, objective=True)
    with reported_errors():
        for name in ("training", "inference"):
            summary = calculate_summary(HERE / f"{name}_stats.csv")
            print(f"{name}: {recommend_sweet_spot(summary, asked.objective).words}")
