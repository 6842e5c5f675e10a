"""The runner's own part: what it waits for before it measures."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness_llm.errors import FolderError
from harness_llm.fleet.loads import LoadResult
from harness_llm.fleet.roles import TELEMETRY
from harness_llm.results.held import utc_now
from harness_llm.results.live_records import DeviceState, LiveRecord
from harness_llm.results.study_folder import StudyFolder, StudyRecord
from harness_llm.study import runner
from harness_llm.study.runner import ASKED_JSON, IDLE_JSON, _refuse_another, _Runner, _Seen, require_study


class _Watch:
    """A watch whose sampler takes its time: its first word, or the first reading, comes in a later turn."""

    def __init__(self, seen: _Seen, *, finds: bool, first_turn: int) -> None:
        self._seen, self._finds, self._turns, self._first_turn = seen, finds, 0, first_turn
        self.children = [SimpleNamespace(role=TELEMETRY, report=None, is_lost=False)]
        self.first_s: float | None = None

    def turn(self, stage: str) -> None:
        self._turns += 1
        if self._turns == self._first_turn and not self._finds:
            self.children[0].report = {"found": False}
        if self._turns >= self._first_turn and self._finds:
            now = time.monotonic()
            self.first_s = self.first_s or now
            state = DeviceState(index=0, at_s=now)
            self._seen.take(LiveRecord(at_s=now, began_at_s=0.0, devices=(state,)))


def _measure_idle(folder: Path, *, finds: bool, first_turn: int = 3) -> tuple[_Watch, list[float]]:
    seen = _Seen()
    watch = _Watch(seen, finds=finds, first_turn=first_turn)
    one = _Runner(cast("Any", SimpleNamespace(idle_s=0.01)), folder, cast("Any", None), seen)
    one._idle(cast("Any", watch), "idle")
    return watch, json.loads((folder / IDLE_JSON).read_text())["idle"]


def test_idle_power_is_measured_after_a_first_reading_however_long_it_takes(tmp_path: Path) -> None:
    watch, (begin_s, end_s) = _measure_idle(tmp_path, finds=True)
    assert watch.first_s is not None and watch.first_s < begin_s < end_s


def test_a_sampler_that_never_reads_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_FIRST_READING_S", 0.05)
    watch, (begin_s, end_s) = _measure_idle(tmp_path, finds=True, first_turn=10**9)
    assert watch.first_s is None and begin_s < end_s


def test_loads_are_askew_by_when_they_started_whenever_their_first_query_was_due() -> None:
    reports = [
        {"start_ns": 5_000_000, "begin_ns": 5_000_000},
        {"start_ns": 5_100_000, "begin_ns": 80_000_000},
        {},
    ]
    assert runner._skew_ms([LoadResult("x", Path(), report) for report in reports]) == pytest.approx(0.1)


def test_without_accelerators_nothing_is_waited_for(tmp_path: Path) -> None:
    watch, (begin_s, end_s) = _measure_idle(tmp_path, finds=False)
    assert watch.first_s is None and begin_s < end_s


def _study_of(kind: str, folder: Path) -> StudyFolder:
    study = StudyFolder(folder)
    with study:
        study.begin(StudyRecord(kind=kind, seed=0, points=(), state="running", started_utc=utc_now()))
    return study


def test_a_study_of_another_kind_is_refused_as_such(tmp_path: Path) -> None:
    folder = _study_of("power", tmp_path / "study")
    (folder.path / ASKED_JSON).write_text('{"knob": "cap"}')
    other = cast("Any", SimpleNamespace(kind="tenants", asked=lambda: {"experiment_name": "x"}))
    with pytest.raises(FolderError, match="study: holds a study of another kind, power") as found:
        _refuse_another(folder, other)
    assert "knob" not in str(found.value)


def test_what_is_reported_must_be_a_study_of_the_kind(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _study_of("power", tmp_path / "power")
    require_study(tmp_path / "power", "power")
    for name, said in (
        ("none", "none: no such folder"),
        ("empty", "empty: holds no study: has no study.json"),
        ("power", "power: holds a study of another kind, power"),
    ):
        with pytest.raises(FolderError, match=said):
            require_study(tmp_path / name, "tenants")
