"""Offline: a count that lasts a little longer than LoadGen's minimum, and what the end of the run costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness_llm.errors import EngineError
from harness_llm.fleet.fleet import Fleet
from harness_llm.fleet.measurement import TestResult
from harness_llm.results.events import read_events, sound_events
from harness_llm.results.paths import EVENTS_NPY
from harness_llm.rules.settings import SLACK
from harness_llm.transport.spec import LoadgenTest
from harness_llm.tune.seen_run import Floats
from harness_llm.views.progress import TestProgress

ROOM = 1.03
"""How much longer than min_duration the run is to last."""
_PROBE_S, _PROBE_SHARE = (20.0, 60.0), 0.25
_LAST = (1.05, 1.3)  # expected length, in min_durations, at which the first look may become the result
_RUNS = 3


def steady_rate(events: npt.NDArray[Any]) -> float:
    """Samples/s between the 10 % and the 90 % of the answers; 0 where there are too few."""
    return steady(_ends_s(events))


def steady(ends: npt.NDArray[Any]) -> float:
    """The same of the times at which answers ended, seconds, ascending."""
    low, high = len(ends) // 10, len(ends) * 9 // 10
    return float((high - low) / (ends[high] - ends[low])) if high > low and ends[high] > ends[low] else 0.0


def told(events: npt.NDArray[Any]) -> str:
    """What the end of a whole run costs, and what a longer one would gain."""
    ends = _ends_s(events)
    held = steady(ends)
    rate = len(ends) / ends[-1]
    if held <= rate:
        return f"{rate:.4g} samples/s; the end of the run costs nothing that can be seen"
    idle = ends[-1] - len(ends) / held
    longer = 2 * len(ends) / (2 * len(ends) / held + idle)
    return (
        f"{rate:.4g} samples/s; ramp-up and drain, when engines are not full, cost {1 - rate / held:.1%}; "
        f"twice as many samples would give {longer:.4g} ({longer / rate - 1:+.1%})"
    )


def measure_offline(
    fleet: Fleet, test: LoadgenTest, folder: Path, settings: Mapping[str, Any], say: Callable[[str], None],
    set_by: Callable[[Path], Path], is_result: Callable[[Path], bool],
    stops: Callable[[], str] = lambda: "", *, dry_run: bool = False,
) -> TestResult:  # fmt: skip
    """Find how many samples last long enough, then run them.

    If the run that was started only to find the rate lasts long enough itself, it is the result.

    Args:
        fleet: Who answers.
        test: The Offline test; its rate is a guess.
        folder: Where the run goes.
        settings: Fields of LoadGen's `TestSettings`.
        say: Tells people.
        set_by: Keeps what is no result elsewhere; where it lies then.
        is_result: Whether a test is one.
        stops: Why no further run is started; empty while one may be.
        dry_run: Do not run them; the result has the rate at which they would be.

    Raises:
        EngineError: The engines answered nothing.
    """
    seconds = int(settings["min_duration_ms"]) / 1000
    least, most = _PROBE_S

    def enough(progress: TestProgress) -> str:
        past = time.monotonic() - progress.started
        wanted = min(max(least, _PROBE_SHARE * seconds), most)
        if not (past >= wanted and progress.done >= 40 or past >= 10 * most):
            return ""
        will_last = past * progress.issued / max(1, progress.done)
        is_result = not dry_run and _LAST[0] * seconds <= will_last <= _LAST[1] * seconds
        return progress.lost if is_result else "a look at the rate"

    def is_final() -> bool:
        if dry_run or not is_result(folder):
            return False
        say(f"Offline: {told(read_events(folder / EVENTS_NPY))}")
        return True

    result = fleet.measure(test, folder, enough)
    if is_final():
        return result
    rate = _rate(set_by(folder))
    if result.state == "complete":  # too few samples to tell a steady rate: look at as many as it takes
        result = fleet.measure(test.with_qps(rate), folder, enough)
        if is_final():
            return result
        rate = _rate(set_by(folder))
    for _ in range(_RUNS):
        qps = float(f"{ROOM * rate / SLACK:.4g}")
        say(
            f"Offline: {rate:.4g} samples/s steadily; target_qps {qps:g} makes a run of "
            f"{ROOM * seconds:.0f} s or a little more"
        )
        if stop := stops():
            return TestResult(test.with_qps(qps), folder, "abandoned", reason=stop)
        result = fleet.measure(test.with_qps(qps), folder, lambda progress: progress.lost)
        if is_final():
            return result
        rate = max(1.02 * rate, _rate(set_by(folder)))
    return TestResult(result.test, folder, "abandoned", reason="no run was VALID")


def _rate(folder: Path) -> float:
    events, _ = sound_events(folder / EVENTS_NPY)
    rate = 0.0 if events is None else steady_rate(events)
    if not rate:
        raise EngineError(f"{folder}: too few samples were answered to tell a rate")
    return rate


def _ends_s(events: npt.NDArray[Any]) -> Floats:
    done = events["finished_ns"][events["finished_ns"] > 0]
    found: Floats = np.sort(done - events["issued_ns"].min(initial=np.iinfo(np.int64).max)) / 1e9
    return found
