"""The report on known vulnerabilities says what it could not learn, and never fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

import audit
import pytest


def test_what_nobody_could_tell_of_is_not_called_sound() -> None:
    found = [
        {"name": "a", "version": "1", "vulns": []},
        {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]},
        {"name": "c", "skip_reason": "not found"},
    ]
    assert audit.summary(found) == (
        "b 2: CVE-1, fixed in 3\naudited 2 of 3 packages: 1 known vulnerabilities"
    )


@pytest.mark.parametrize("error", [OSError(), subprocess.TimeoutExpired("x", 1), ValueError()])
def test_no_answer_is_a_report_too(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(_: Path) -> str:
        raise error

    monkeypatch.setattr(audit, "_audit", fails)
    assert audit.report(Path("lock")).startswith("not audited")
