from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from harness_llm.errors import FolderError
from harness_llm.results.folder import RunFolder
from harness_llm.views.summary import summarize

if TYPE_CHECKING:
    from pathlib import Path


def _record(folder: Path, **changes: object) -> None:
    record = {"format": 1, "benchmark": "mine", "tests": ["Offline/performance"], **changes}
    (folder / "run.json").write_text(json.dumps(record))


def test_a_run_whose_process_was_killed_is_not_said_to_be_running(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.record(benchmark="mine", tests=["Offline/performance"], state="running")
        assert summarize(folder.path).state == "running"
        assert summarize(folder.path).reasons()[0] == "the run is running"
    summary = summarize(tmp_path / "run")
    assert summary.state == "broken"
    assert "killed" in summary.reason and "--resume" in summary.reason
    assert not summary.is_valid


def test_the_reason_of_a_broken_run_is_told(tmp_path: Path) -> None:
    _record(tmp_path, state="broken", reason="the disk is full")
    assert summarize(tmp_path).reasons() == [
        "the run is broken: the disk is full",
        "Offline: performance: not run",
    ]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="holds no run.json"):
        summarize(tmp_path)
    _record(tmp_path, format=2)
    with pytest.raises(FolderError, match="not of this version"):
        summarize(tmp_path)
