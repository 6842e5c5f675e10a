from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from harness_llm.errors import FolderError
from harness_llm.results.paths import RUN_JSON
from harness_llm.results.reading import write_record
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import RunFolder
from harness_llm.views.run_summary import summarize

RUN = replace(RunRecord.blank(), benchmark="mine", tests=("Offline/performance",), state="running")


def test_a_run_whose_process_was_killed_is_not_said_to_be_running(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.begin(RUN)
        assert summarize(folder.path).state == "running"
        assert summarize(folder.path).reasons()[0] == "the run is running"
    summary = summarize(tmp_path / "run")
    assert summary.state == "cut off"
    assert "killed" in summary.reason and "--resume" in summary.reason
    assert not summary.is_valid


def test_the_reason_of_a_broken_run_is_told(tmp_path: Path) -> None:
    write_record(tmp_path / RUN_JSON, replace(RUN, state="broken", reason="the disk is full"))
    assert summarize(tmp_path).reasons() == [
        "the run is broken: the disk is full",
        "Offline: performance: not run",
    ]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="holds no run.json"):
        summarize(tmp_path)
    (tmp_path / RUN_JSON).write_bytes(msgspec.json.encode(replace(RUN, format=99)))
    with pytest.raises(FolderError, match="99 is of a newer version"):
        summarize(tmp_path)
