"""What answers are scored by: a metric each, found by its name in the rules or in the configuration."""

from __future__ import annotations

from harness_llm.accuracy.metrics.choice import METRICS, Foreign, metric_named, metric_of
from harness_llm.accuracy.metrics.exact_match import ExactMatch
from harness_llm.accuracy.metrics.metric import Answer, Metric, Scores
from harness_llm.accuracy.metrics.rouge import Rouge

__all__ = [
    "METRICS",
    "Answer",
    "ExactMatch",
    "Foreign",
    "Metric",
    "Rouge",
    "Scores",
    "metric_named",
    "metric_of",
]
