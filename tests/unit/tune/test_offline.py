"""How a count is found that lasts long enough, with a fleet that only counts; nothing is loaded here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness_llm.core import EventStatus
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.paths import EVENTS_NPY
from harness_llm.tune.offline import measure_offline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SETTINGS = {"min_duration_ms": 100_000}


@dataclass(frozen=True)
class _Test:
    target_qps: float

    def with_qps(self, qps: float) -> _Test:
        return _Test(qps)


@dataclass
class _Fleet:
    """Answers evenly at a rate, whole sets of 100 samples for 100 s; it is looked at every second."""

    rate: float
    runs: list[tuple[float, str]] = field(default_factory=list)

    def measure(self, test: _Test, folder: Path, look: Callable[[Any], str]) -> Any:
        count = int(np.ceil(1.1 * test.target_qps)) * 100
        done, reason = count, ""
        for second in range(1, int(count / self.rate)):
            done = int(second * self.rate)
            started = time.monotonic() - second
            progress = SimpleNamespace(started=started, done=done, issued=count, lost="")
            if reason := look(progress):
                break
        else:
            done = count
        events = np.zeros(count, EVENT_DTYPE)
        events["issued_ns"], events["status"] = 10**9, EventStatus.FINISHED
        events["finished_ns"][:done] = 10**9 + (1e9 * np.arange(1, done + 1) / self.rate).astype(np.int64)
        folder.mkdir()
        np.save(folder / EVENTS_NPY, events)
        self.runs.append((test.target_qps, reason))
        return SimpleNamespace(
            test=test, folder=folder, state="abandoned" if reason else "complete", reason=reason
        )


def _measured(fleet: _Fleet, qps: float, folder: Path, stop: str = "") -> Any:
    def keep(made: Path) -> Path:
        return made.rename(folder / f"kept-{len(fleet.runs)}")

    def is_result(made: Path) -> bool:
        """As LoadGen judges."""
        return not fleet.runs[-1][1] and np.load(made / EVENTS_NPY)["finished_ns"].max() >= 101e9

    said: list[str] = []
    return measure_offline(
        fleet,
        _Test(qps),
        folder / "run",
        SETTINGS,
        said.append,
        keep,
        is_result,
        lambda: stop,
        dry_run=stop == "a dry run",  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("qps", "wanted"),
    [
        (20.0, [""]),  # lasts 110 s
        (400.0, ["a look at the rate", ""]),  # would last 22 times as long as it must
        (2.0, ["", ""]),  # lasts 15 s; only its rate is of use
        (15.0, ["a look at the rate", ""]),  # would last 85 s
    ],
)
def test_a_run_that_lasts_long_enough_is_the_result_and_no_other_is(
    qps: float, wanted: list[str], tmp_path: Path
) -> None:
    fleet = _Fleet(20.0)
    result = _measured(fleet, qps, tmp_path)
    assert [reason for _, reason in fleet.runs] == wanted
    assert (result.state, result.folder) == ("complete", tmp_path / "run")
    assert len(list(tmp_path.glob("kept-*"))) == len(wanted) - 1
    rate = fleet.runs[-1][0]
    assert 100 <= np.ceil(1.1 * rate) * 100 / 20 <= 130


@pytest.mark.parametrize(("qps", "stop"), [(20.0, "a dry run"), (400.0, "the budget is spent")])
def test_no_further_run_is_started_where_none_may_be(qps: float, stop: str, tmp_path: Path) -> None:
    fleet = _Fleet(20.0)
    result = _measured(fleet, qps, tmp_path, stop)
    assert (result.state, result.reason) == ("abandoned", stop)
    assert result.test.target_qps == pytest.approx(18.7, rel=0.01), "the rate of a run of 103 s"
    assert [reason for _, reason in fleet.runs] == ["a look at the rate"]
