"""The runner's own part: what it waits for before it measures."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from harness_llm.fleet.roles import TELEMETRY
from harness_llm.results.live_records import DeviceState, LiveRecord
from harness_llm.study.runner import IDLE_JSON, _Runner, _Seen


class _Watch:
    """A watch whose sampler takes its time: the first reading is recorded in the third turn."""

    def __init__(self, seen: _Seen, *, finds: bool) -> None:
        self._seen, self._finds, self._turns = seen, finds, 0
        self.children = [SimpleNamespace(role=TELEMETRY, report=None, is_lost=False)]
        self.first_s: float | None = None

    def turn(self, stage: str) -> None:
        self._turns += 1
        if self._turns == 3 and not self._finds:
            self.children[0].report = {"found": False}
        if self._turns >= 3 and self._finds:
            now = time.monotonic()
            self.first_s = self.first_s or now
            state = DeviceState(index=0, at_s=now)
            self._seen.take(LiveRecord(at_s=now, began_at_s=0.0, devices=(state,)))


def _measure_idle(folder: Path, *, finds: bool) -> tuple[_Watch, list[float]]:
    seen = _Seen()
    watch = _Watch(seen, finds=finds)
    runner = _Runner(cast("Any", SimpleNamespace(idle_s=0.01)), folder, cast("Any", None), seen)
    runner._idle(cast("Any", watch), "idle")
    return watch, json.loads((folder / IDLE_JSON).read_text())["idle"]


def test_idle_power_is_measured_after_a_first_reading_however_long_it_takes(tmp_path: Path) -> None:
    watch, (begin_s, end_s) = _measure_idle(tmp_path, finds=True)
    assert watch.first_s is not None and watch.first_s < begin_s < end_s


def test_without_accelerators_nothing_is_waited_for(tmp_path: Path) -> None:
    watch, (begin_s, end_s) = _measure_idle(tmp_path, finds=False)
    assert watch.first_s is None and begin_s < end_s
