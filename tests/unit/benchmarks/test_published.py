from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from benchmarks.published import main
from mutation.faults.edits import org
from mutation.good_tree import build

if TYPE_CHECKING:
    from pathlib import Path


def test_a_tree_is_counted_by_what_check_says_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (org(build(tmp_path / "trees" / "one")) / "documentation" / "calibration.md").unlink()
    monkeypatch.setattr(sys, "argv", ["published.py", f"v6.1={tmp_path / 'trees'}", "--json"])
    assert main() == 0
    found = json.loads(capsys.readouterr().out)["v6.1/one"]
    assert found["fail"] == {"documentation.calibration": 1} and not found["passed"]
    assert found["rows"]["pass"] > 100 and found["failed"][0]["required"]
    assert found["cpu_s"] > 0 and found["peak_mib"] > 10
    monkeypatch.setattr(sys, "argv", ["published.py", f"v6.1={tmp_path / 'nowhere'}"])
    with pytest.raises(SystemExit, match="Give ROUND=FOLDER"):
        main()
