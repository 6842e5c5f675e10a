"""From a finished run to a submission tree."""

from __future__ import annotations

from harness_llm.package.submission import PackageResult, package

__all__ = ["PackageResult", "package"]
