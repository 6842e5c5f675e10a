from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from golden.run_folder import begin_test
from msgspec.structs import replace

from harness_llm.core import Mode, Scenario
from harness_llm.errors import FolderError, ProtocolError
from harness_llm.results.held import is_in_use, utc_now
from harness_llm.results.paths import RUN_JSON, group_folder
from harness_llm.results.records import DatasetRecord, RunRecord, Verdict
from harness_llm.results.run_folder import RunFolder, state_of

RUN = replace(RunRecord.blank(), state="running", started_utc=utc_now(), tests=("Offline/performance",))


def test_a_folder_is_made_and_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "a" / "run"
    assert not is_in_use(path)
    with RunFolder(path) as folder:
        assert folder.record() is None and folder.tests() == [] and is_in_use(path)
        with pytest.raises(FolderError, match=f"{path}: another run is using"), RunFolder(path):
            pass
        folder.begin(RUN)
    assert not is_in_use(path)
    with RunFolder(path) as folder:
        assert folder.record() == RUN
        assert [test.path for test in folder.tests()] == [path / "Offline/performance"]


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderError, match=r"thesis\.txt"), RunFolder(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def _link(path: Path, target: str) -> None:
    path.symlink_to(path.parent / target)


@pytest.mark.parametrize(
    ("make", "below", "said"),
    [
        (Path.touch, "", "it already exists and is not a folder"),
        (Path.touch, "x", "part of its path already exists"),
        (os.mkfifo, "", "it already exists and is not a folder"),
        (functools.partial(_link, target="nothing"), "", "it already exists and is not a folder"),
        (functools.partial(_link, target="path"), "", "it already exists and is not a folder"),
    ],
    ids=["a file", "below a file", "a named pipe", "a link to nowhere", "a link to itself"],
)
def test_a_path_that_cannot_be_a_folder(
    tmp_path: Path, make: Callable[[Path], object], below: str, said: str
) -> None:
    make(tmp_path / "path")
    with pytest.raises(FolderError, match=said), RunFolder(tmp_path / "path" / below):
        pass


def test_a_link_to_a_folder_is_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    _link(tmp_path / "results", "there")
    with RunFolder(tmp_path / "results") as folder:
        folder.begin(RUN)
    assert (tmp_path / "there" / RUN_JSON).exists()


def test_the_lock_ends_with_its_process_however_it_ends(tmp_path: Path) -> None:
    code = """
import sys, time
from collections.abc import Callable
from pathlib import Path
from harness_llm.results.records import (RunRecord)
from harness_llm.results.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])) as folder:
    folder.begin(RunRecord.blank())
    print("held", flush=True)
    time.sleep(60)
"""
    path = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(FolderError, match="another run"), RunFolder(path):
            pass
        child.send_signal(signal.SIGKILL)
    with RunFolder(path) as folder:
        assert folder.record() == RunRecord.blank()


def test_a_run_that_is_continued_keeps_its_start_and_says_so(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.begin(replace(RUN, started_utc="2026-01-01T00:00:00Z"))
        folder.finish("broken", "a replica died")
        ended = folder.record()
        assert ended is not None and (ended.state, ended.reason) == ("broken", "a replica died")
        assert ended.finished_utc is not None
    for times in (1, 2):
        with RunFolder(tmp_path) as folder:
            folder.begin(replace(RUN, benchmark="b"))
            again = folder.record()
        assert again is not None and again.benchmark == "b"
        assert (again.state, again.reason, again.finished_utc) == ("running", "", None)
        assert again.started_utc == "2026-01-01T00:00:00Z" and len(again.resumed_utc) == times


def test_the_end_of_a_run_that_never_began_is_not_recorded(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.finish("broken", "x")
        assert folder.record() is None


def test_a_test_goes_from_running_to_followed_up(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        test = folder.test("Offline/performance")
        assert not test.is_begun and not test.is_complete and not test.is_followed_up
        begin_test(test)
        assert test.is_begun and not test.is_complete
        begun = test.record()
        assert (begun.format, begun.state, begun.scenario, begun.engines) == (
            2,
            "running",
            "Offline",
            "Offline",
        )
        assert begun.started_utc <= utc_now() and begun.finished_utc is None
        test.complete({"seconds": 1.5, "samples": 3, "tokens": 9, "requested_settings": {"a": 1}})
        assert test.is_complete and not test.is_followed_up
        dataset = DatasetRecord(name="d", samples=3, digest="x")
        verdict = Verdict(passed=False, reasons=("too short",))
        test.asked(dataset)
        test.verified(verdict)
        test.followed_up()
        record = test.record()
        assert test.is_followed_up and (record.dataset, record.compliance) == (dataset, verdict)
        assert (record.seconds, record.tokens, record.requested_settings) == (1.5, 9, {"a": 1})


@pytest.mark.parametrize("state", ["broken", "abandoned"])
def test_a_test_that_does_not_end_says_why(tmp_path: Path, state: str) -> None:
    test = RunFolder(tmp_path).test("Offline/performance")
    begin_test(test)
    getattr(test, state)("as asked")
    record = test.record()
    assert (record.state, record.reason) == (state, "as asked") and record.finished_utc is not None


def test_a_report_of_another_form_is_refused(tmp_path: Path) -> None:
    test = RunFolder(tmp_path).test("Offline/performance")
    begin_test(test)
    with pytest.raises(ProtocolError, match="report.*samples"):
        test.complete({"samples": "many"})
    assert not test.is_complete


def test_what_an_interrupted_test_left_is_kept_under_a_new_number(tmp_path: Path) -> None:
    test = RunFolder(tmp_path).test("Server/accuracy")
    for number in range(3):
        begin_test(test)
        (test.path / "events.npy").write_text(f"measured {number}")
    kept = {path.name: (path / "events.npy").read_text() for path in (tmp_path / "Server").iterdir()}
    assert kept == {
        "accuracy": "measured 2",
        "accuracy.broken-1": "measured 0",
        "accuracy.broken-2": "measured 1",
    }


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\x00"])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / RUN_JSON).write_text(text)
    with RunFolder(tmp_path) as folder, pytest.raises(FolderError, match=r"run\.json"):
        folder.record()


def test_each_group_of_engines_has_a_folder(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).group("Offline") == tmp_path / "replicas/Offline"
    assert group_folder(tmp_path, None) == tmp_path / "replicas", "format 1"


def test_the_reserve_is_there_while_a_run_may_fill_its_disk_and_is_spent_on_its_end(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.begin(RunRecord.blank())
        test = folder.test("Offline/performance")
        test.begin(
            scenario=Scenario.OFFLINE, mode=Mode.PERFORMANCE, loadgen_model="m", target_qps=1.0, engines="e"
        )
        kept = [place / ".reserve" for place in (folder.path, test.path)]
        assert all(path.stat().st_size > 2 * folder.record_path.stat().st_size for path in kept)
        test.broken("the disk is full")
        folder.finish("broken", "the disk is full")
        assert not any(path.exists() for path in kept)


def test_a_run_that_nobody_holds_and_that_still_runs_was_cut_off(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.begin(replace(RunRecord.blank(), state="running"))
        record = folder.record()
        assert record is not None and state_of(folder.path, record) == ("running", "")
    state, reason = state_of(tmp_path / "run", record)
    assert state == "cut off" and "--resume" in reason
