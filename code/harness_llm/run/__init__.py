"""A run from configuration to scored tests: prepare and check everything, then measure, then score."""

from __future__ import annotations

from harness_llm.run.execute import execute, find_unfinished
from harness_llm.run.inputs import shipped_models
from harness_llm.run.prepare import TESTS, Prepared, prepare

__all__ = ["TESTS", "Prepared", "execute", "find_unfinished", "prepare", "shipped_models"]
