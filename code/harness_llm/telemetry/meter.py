"""Readings of one accelerator, taken together: energy since the start, means since the last report."""

from __future__ import annotations

from collections.abc import Iterable

from harness_llm.results.live_records import DeviceState
from harness_llm.telemetry.sources import DeviceReading


class Meter:
    """Takes the readings of one accelerator and reports them once a second."""

    def __init__(self) -> None:
        self._first: DeviceReading | None = None
        self._last: DeviceReading | None = None
        self._integral_j = 0.0
        self._since: list[DeviceReading] = []

    def take(self, reading: DeviceReading) -> None:
        """Take in a reading; between two of them power is taken for a straight line."""
        last = self._last
        if last is not None and last.watts is not None and reading.watts is not None:
            self._integral_j += (last.watts + reading.watts) / 2 * (reading.at_s - last.at_s)
        self._first = self._first or reading
        self._last = reading
        self._since.append(reading)

    def report(self) -> DeviceState:
        """What it is since the last report; there must have been a reading."""
        first, last = self._first, self._last
        assert first is not None and last is not None
        readings, self._since = self._since or [last], []
        counted = None
        if first.counter_j is not None and last.counter_j is not None:
            counted = last.counter_j - first.counter_j
        return DeviceState(
            index=last.index,
            name=last.name,
            at_s=last.at_s,
            watts=_mean(reading.watts for reading in readings),
            integral_j=None if last.watts is None else round(self._integral_j, 3),
            counter_j=None if counted is None else round(counted, 3),
            mhz=_mean(reading.mhz for reading in readings),
            busy=_mean(reading.busy for reading in readings),
            memory_busy=_mean(reading.memory_busy for reading in readings),
            memory_used_bytes=last.memory_used_bytes,
            celsius=max(
                (reading.celsius for reading in readings if reading.celsius is not None), default=None
            ),
            throttled=tuple(dict.fromkeys(why for reading in readings for why in reading.throttled)),
        )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 3) if known else None
