"""Every metric by its name, and which one a benchmark is scored by."""

from dataclasses import dataclass

from harness_llm import rules
from harness_llm.accuracy.metrics.exact_match import ExactMatch
from harness_llm.accuracy.metrics.metric import Metric
from harness_llm.accuracy.metrics.rouge import Rouge
from harness_llm.benchmark import Benchmark
from harness_llm.errors import ConfigError

METRICS: dict[str, Metric] = {metric.name: metric for metric in (Rouge(), ExactMatch())}
"""Add a metric here; docs/accuracy.md says what it needs."""

_DEFAULT = "rouge"


@dataclass(frozen=True)
class Foreign:
    """Scores that MLCommons' own script computes and this harness does not.

    Attributes:
        benchmark: The benchmark that is judged by them.
        scores: Their names, as accuracy.txt has them.
        script: Repository, commit and path of the script.
    """

    benchmark: str
    scores: tuple[str, ...]
    script: str

    @property
    def note(self) -> str:
        """Why an accuracy test runs unscored, and what to do: a sentence."""
        return (
            f"{self.benchmark} is judged by {', '.join(self.scores)}, which this harness does not all "
            f"compute: the accuracy log is written and not scored. Score it with {self.script} "
            "and take its output over: harness-llm score RUN --from OUTPUT.txt (docs/accuracy.md)"
        )


def metric_named(name: str) -> Metric:
    """One metric by its name.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in METRICS:
        near = rules.nearest(name, METRICS)
        hint = f"Did you mean {near}? " if near else ""
        raise ConfigError(f"{name}: no such metric", f"{hint}The metrics are {', '.join(METRICS)}.")
    return METRICS[name]


def metric_of(benchmark: Benchmark, chosen: str | None = None) -> Metric | Foreign:
    """What a benchmark's accuracy test is scored by: what its rules name, or what its owner chose.

    Args:
        benchmark: The benchmark.
        chosen: Metric of a benchmark of one's own; None takes the one that computes the scores which its
            benchmark.yaml names, and ROUGE where it names none.

    Raises:
        ConfigError: There is no metric of the name that was chosen.
    """
    if benchmark.rules is not None:
        scoring, wanted = benchmark.rules.scoring, benchmark.metrics
        if scoring.metric is None:
            return Foreign(benchmark.name, wanted, rules.expand_source(scoring.script))
        return metric_named(scoring.metric)
    if chosen is not None:
        return metric_named(chosen)
    named = [metric for metric in METRICS.values() if set(benchmark.metrics) <= set(metric.scores)]
    return named[0] if named else METRICS[_DEFAULT]
