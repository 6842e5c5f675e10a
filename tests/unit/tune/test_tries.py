"""What is read back of runs and tries, and how it is refused where it cannot be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness_llm.core import Mode, Scenario
from harness_llm.errors import FolderError
from harness_llm.results.paths import EVENTS_NPY, RUN_JSON, replica_folder
from harness_llm.results.run_folder import TestFolder
from harness_llm.tune.seen_run import Observed
from harness_llm.tune.tries import RecordedEngines, require_run

if TYPE_CHECKING:
    from pathlib import Path


def _test(run: Path) -> Path:
    folder = TestFolder(run / "Server" / "performance")
    folder.begin(
        scenario=Scenario.SERVER, mode=Mode.PERFORMANCE, loadgen_model="mine", target_qps=7, engines="Server"
    )
    return folder.path


@pytest.mark.parametrize("content", ["{", "[]", '{"max_concurrent": "x"}'])
def test_damaged_facts_are_named(content: str, tmp_path: Path) -> None:
    test, replica = _test(tmp_path), replica_folder(tmp_path, "Server", 0)
    replica.mkdir(parents=True)
    (replica / "facts.json").write_text('{"max_concurrent": 9}', encoding="utf-8")
    assert RecordedEngines.of(test).limits.requests == 9
    (replica / "facts.json").write_text(content, encoding="utf-8")
    with pytest.raises(FolderError, match=re.escape(str(replica / "facts.json"))):
        RecordedEngines.of(test)


@pytest.mark.parametrize(("content", "wanted"), [(None, "is missing"), (b"x", "not an events file: ")])
def test_events_that_cannot_be_read_are_named(content: bytes | None, wanted: str, tmp_path: Path) -> None:
    test = _test(tmp_path)
    if content is not None:
        (test / EVENTS_NPY).write_bytes(content)
    with pytest.raises(FolderError, match=re.escape(f"{test / EVENTS_NPY}: {wanted}")):
        Observed.of_test(test)


def test_the_run_in_the_folder_of_a_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="not a run folder"):
        require_run(tmp_path)
    run = tmp_path / "runs" / "result"
    run.mkdir(parents=True)
    (run / RUN_JSON).touch()
    require_run(run)
    with pytest.raises(FolderError, match="the folder of a study") as refused:
        require_run(tmp_path)
    assert str(run) in refused.value.remedy
