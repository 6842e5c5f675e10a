"""Accuracy: reads LoadGen's accuracy log, scores it as the official scripts do, and judges it by gates."""

from harness_llm.accuracy.outputs import read_outputs
from harness_llm.accuracy.reference_file import Reference
from harness_llm.accuracy.result import AccuracyResult, Gates
from harness_llm.accuracy.rouge import score_rouge
from harness_llm.accuracy.score import score_test

__all__ = ["AccuracyResult", "Gates", "Reference", "read_outputs", "score_rouge", "score_test"]
