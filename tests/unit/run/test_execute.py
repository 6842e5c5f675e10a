"""A prepared run in its folder, without processes."""

from __future__ import annotations

import errno
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from golden.run_folder import begin_test
from own_benchmark import OFFICIAL, TEST07, Setup, synthetic

from harness_llm.config.load import load_config
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import FolderError, HarnessError, HostError, LoadgenLost, ReplicaLost
from harness_llm.fleet.watch import Watch
from harness_llm.results.finished import FinishedRun
from harness_llm.results.paths import RUN_JSON
from harness_llm.results.reading import read_record, write_record
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import RunFolder
from harness_llm.run import execute as execute_module
from harness_llm.run.execute import execute, find_unfinished
from harness_llm.run.prepare import prepare
from harness_llm.run.score import ScoreResult
from harness_llm.testing import RecordingView
from harness_llm.views.live import PlainView

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness_llm.run.groups import TestGroup
    from harness_llm.run.prepare import Prepared


class _FakeMeasuring:
    """Stands in for `measure_groups`."""

    error: BaseException | None = None
    given_up = ""

    def __call__(
        self, watch: Watch, folder: Any, groups: Sequence[TestGroup], after_test: Any, measure: Any
    ) -> str:
        assert isinstance(watch, Watch)
        if self.error is not None:
            raise self.error
        for group in groups:
            for test in group.tests:
                begin_test(folder.test(test.name))
                after_test(folder.test(test.name).path)
        return self.given_up


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> _FakeMeasuring:
    fake = _FakeMeasuring()
    monkeypatch.setattr(execute_module, "measure_groups", fake)
    return fake


def read_run(output: Path) -> RunRecord:
    return read_record(output / RUN_JSON, RunRecord)


def _execute(prepared: Prepared, output: Path, *, resume: bool = False) -> list[Path]:
    ended: list[Path] = []

    def score(test: Path) -> ScoreResult:
        ended.append(test)
        return ScoreResult(test.name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute_module, "score", score)
        execute(prepared, output, PlainView(""), resume=resume)
    return ended


def test_a_run_that_ends_is_complete_and_closed(setup: Setup, measuring: _FakeMeasuring) -> None:
    output, prepared = setup.folder / "run", setup.prepared()
    assert _execute(prepared, output) == [output / "Offline/performance"]
    record = read_run(output)
    assert (record.format, record.state, record.reason) == (2, "complete", "")
    assert record.fingerprint == prepared.fingerprint
    assert record.finished_utc is not None and record.finished_utc >= record.started_utc
    assert load_config(output / "config/Offline.yaml") == prepared.configs[0]
    for resume in (False, True):
        with pytest.raises(FolderError, match="finished run"):
            _execute(prepared, output, resume=resume)
    assert find_unfinished(prepared, setup.folder) is None


def test_a_run_that_is_given_up_is_not_complete_and_can_go_on(
    setup: Setup, measuring: _FakeMeasuring
) -> None:
    output, prepared = setup.folder / "run", setup.prepared()
    measuring.given_up = "Server/performance: 8 of 7"
    _execute(prepared, output)
    record = read_run(output)
    assert (record.state, record.reason) == ("abandoned", "Server/performance: 8 of 7")
    with pytest.raises(FolderError, match="abandoned"):
        FinishedRun.read(output)
    assert find_unfinished(prepared, setup.folder) == output


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (ReplicaLost("replica-0 is gone"), "broken", "replica-0 is gone"),
        (LoadgenLost("loadgen is gone", "Look."), "broken", "loadgen is gone"),
        (HarnessError("x", "y"), "broken", "x"),
        (KeyError("bug"), "broken", "KeyError: 'bug'"),
        (KeyboardInterrupt(), "interrupted", "stopped from outside"),
    ],
)
def test_a_run_that_ends_early_says_why_and_can_go_on(
    setup: Setup, measuring: _FakeMeasuring, error: BaseException, state: str, reason: str
) -> None:
    output, prepared = setup.folder / "run", setup.prepared()
    measuring.error = error
    with pytest.raises(type(error)):
        _execute(prepared, output)
    record = read_run(output)
    assert (record.state, record.reason) == (state, reason)
    assert find_unfinished(prepared, setup.folder) == output
    with RunFolder(output):
        assert find_unfinished(prepared, setup.folder) is None, "another process continues with it"
    measuring.error = None
    with pytest.raises(FolderError, match="--resume"):
        _execute(prepared, output)
    with pytest.raises(FolderError, match="the run in it is another one"):
        _execute(setup.prepared(dataset=synthetic(seed=3)), output, resume=True)
    assert read_run(output).state == state
    _execute(prepared, output, resume=True)
    again = read_run(output)
    assert (again.state, again.started_utc, len(again.resumed_utc)) == (
        "complete", record.started_utc, 1,
    )  # fmt: skip


def test_every_test_says_which_samples_it_ran_on(setup: Setup, measuring: _FakeMeasuring) -> None:
    setup.conf.write_text(OFFICIAL)
    config = setup.config("Offline", benchmark="gpt-oss-120b", tests=TEST07)
    prepared = prepare([config], ["TEST07", "TEST09"])
    output = setup.folder / "run"
    assert set(_execute(prepared, output)) == {output / "Offline/TEST09", output / "Offline/TEST07"}
    record = read_run(output)
    assert record.dataset.digest == prepared.table.digest
    assert record.test_datasets["TEST07"].digest == prepared.own_tables["TEST07"].digest
    for test, file, table in (
        ("TEST09", "samples.npz", prepared.table),
        ("TEST07", "samples_TEST07.npz", prepared.own_tables["TEST07"]),
    ):
        described = RunFolder(output).test(f"Offline/{test}").record().dataset
        assert described is not None
        assert (described.file, described.digest) == (file, table.digest)
        assert SampleTable.load(output / file).digest == table.digest


def test_a_full_disk_is_said_before_anything_starts(
    setup: Setup, measuring: _FakeMeasuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring.error = AssertionError("was started")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    with pytest.raises(HostError, match="1 MiB are free"):
        _execute(setup.prepared(), setup.folder / "run")
    assert not (setup.folder / "run/run.json").exists()
    monkeypatch.undo()
    monkeypatch.setattr(execute_module, "measure_groups", _FakeMeasuring())
    _execute(setup.prepared(), setup.folder / "run")


def test_a_folder_in_use_is_refused(setup: Setup, measuring: _FakeMeasuring) -> None:
    with RunFolder(setup.folder / "run"), pytest.raises(FolderError, match="another run"):
        _execute(setup.prepared(), setup.folder / "run")


def test_a_disk_that_fills_up_breaks_the_run_in_our_words(setup: Setup, measuring: _FakeMeasuring) -> None:
    output, prepared = setup.folder / "run", setup.prepared()
    measuring.error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(HostError, match="No space left") as caught:
        _execute(prepared, output)
    assert str(output) in caught.value.message and caught.value.remedy
    record = read_run(output)
    assert record.state == "broken" and "No space left" in record.reason
    assert find_unfinished(prepared, setup.folder) == output


def test_the_newest_unfinished_run_goes_on(setup: Setup, measuring: _FakeMeasuring) -> None:
    prepared = setup.prepared()
    measuring.error = ReplicaLost("gone")
    for name, started in (("a", "2026-01-02"), ("b", "2026-01-03"), ("c", "2026-01-01")):
        with pytest.raises(ReplicaLost):
            _execute(prepared, setup.folder / name)
        record = read_run(setup.folder / name)
        write_record(setup.folder / name / RUN_JSON, msgspec.structs.replace(record, started_utc=started))
    assert find_unfinished(prepared, setup.folder) == setup.folder / "b"
    assert find_unfinished(setup.prepared(dataset=synthetic(seed=5)), setup.folder) is None


def test_room_is_made_for_the_largest_data_set(
    setup: Setup, measuring: _FakeMeasuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(execute_module, "check_disk", lambda *given: asked.append(given))
    setup.conf.write_text(OFFICIAL)
    config = setup.config("Offline", benchmark="gpt-oss-120b", tests=TEST07, dataset=synthetic("3:4:4"))
    _execute(prepare([config], ["TEST07", "TEST09"]), setup.folder / "run")
    assert asked == [(setup.folder / "run", 2, 9, 9 * 5)]


def test_notes_are_shown_before_anything_starts(setup: Setup, measuring: _FakeMeasuring) -> None:
    setup.conf.write_text(OFFICIAL)
    prepared = prepare([setup.config("Offline", benchmark="gpt-oss-120b")], ["accuracy"])
    view = RecordingView()
    measuring.error = ReplicaLost("gone")
    with pytest.raises(ReplicaLost):
        execute(prepared, setup.folder / "run", view, resume=False)
    assert prepared.notes and view.said[: len(prepared.notes)] == [f"note: {note}" for note in prepared.notes]
