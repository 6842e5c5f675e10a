"""Steps of the system clock, by which LoadGen measures, seen against the monotonic clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harness_llm.core import NANOSECONDS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST_STEP_NS = 1_000_000
_TRIES = 20


class ClockWatch:
    """Notes each step of the system clock between two looks.

    Both clocks are disciplined alike, so that what lies between them changes by a step only: a clock that
    was set, a leap second, a machine that was suspended.

    Args:
        system: The clock that LoadGen takes, ns (std::chrono::high_resolution_clock, loadgen/utils.h).
        monotonic: The clock of the events, ns.

    Attributes:
        steps_s: Each step, seconds; negative where the system clock went back.
    """

    def __init__(
        self,
        system: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.steps_s: list[float] = []
        self._system = system
        self._monotonic = monotonic
        self._between, _ = self._measure()

    def compare(self) -> None:
        """Compare the clocks now."""
        between, width = self._measure()
        step = between - self._between
        if abs(step) > _LEAST_STEP_NS + width:
            self.steps_s.append(step / NANOSECONDS_PER_SECOND)
            self._between = between

    def _measure(self) -> tuple[int, int]:
        """(system minus monotonic, how long it took to read both), ns, of the quickest of some readings."""
        readings = []
        for _ in range(_TRIES):
            before, system, after = self._monotonic(), self._system(), self._monotonic()
            readings.append((after - before, system - before))
            if after - before < _LEAST_STEP_NS:
                break
        width, between = min(readings)
        return between, width
