"""Say whether a run or a submission tree keeps the rules, stricter and clearer than the official checker.

An INVALID run or a broken file is a failed check, never an exception.
"""

from __future__ import annotations

from harness_llm.check.judgement import Check, Report
from harness_llm.check.run import check_run
from harness_llm.check.tree import check_tree

__all__ = ["Check", "Report", "check_run", "check_tree"]
