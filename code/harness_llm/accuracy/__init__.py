"""Accuracy: reads LoadGen's accuracy log, scores it as the official scripts do, and judges it by gates."""

from __future__ import annotations

from harness_llm.accuracy.reference import Reference, gates_of, make_reference
from harness_llm.accuracy.result import AccuracyResult, Gates
from harness_llm.accuracy.scoring import every_answer, read_outputs, score_accuracy_log, score_outputs

__all__ = [
    "AccuracyResult",
    "Gates",
    "Reference",
    "every_answer",
    "gates_of",
    "make_reference",
    "read_outputs",
    "score_accuracy_log",
    "score_outputs",
]
