"""Energy of a stretch of a run, from the records of live.jsonl, by two ways of measuring it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness_llm.results.live_records import DeviceState, LiveRecord

_LONGEST_GAP_S = 5.0
"""Between two readings: a stretch with a longer one is not known."""


@dataclass(frozen=True)
class Energy:
    """What all accelerators used between two moments; None where it is not known.

    Attributes:
        devices: How many accelerators were sampled.
        counter_j: By their own counters, joules.
        integral_j: By summing their power over time, joules.
    """

    devices: int
    counter_j: float | None
    integral_j: float | None

    def told(self, tokens: int) -> str:
        """J/token, by both ways, for people; empty where neither is known."""
        ways = {"the devices' counters": self.counter_j, "power over time": self.integral_j}
        known = [f"{joules / tokens:.3g} by {way}" for way, joules in ways.items() if joules and tokens]
        return f"{' and '.join(known)} J/token of {self.devices} devices" if known else ""


def energy(records: Sequence[LiveRecord], begin_s: float, end_s: float) -> Energy | None:
    """Energy between two moments of the monotonic clock; None where nothing was sampled.

    Args:
        records: Of one command, in order.
        begin_s: From when on.
        end_s: Until when.
    """
    readings: dict[int, list[DeviceState]] = {}
    for record in records:
        for device in record.devices:
            own = readings.setdefault(device.index, [])
            if not own or device.at_s > own[-1].at_s:
                own.append(device)
    if not readings:
        return None
    counted = [_between(own, "counter_j", begin_s, end_s) for own in readings.values()]
    summed = [_between(own, "integral_j", begin_s, end_s) for own in readings.values()]
    return Energy(len(readings), _sum(counted), _sum(summed))


def _between(readings: Sequence[DeviceState], name: str, begin_s: float, end_s: float) -> float | None:
    known = [(device.at_s, getattr(device, name)) for device in readings if getattr(device, name) is not None]
    if len(known) < 2:
        return None
    at_s, joules = np.array(known).T
    if at_s[0] > begin_s or at_s[-1] < end_s:
        return None
    within = np.flatnonzero((at_s[1:] > begin_s) & (at_s[:-1] < end_s))
    if np.diff(at_s)[within].max(initial=0.0) > _LONGEST_GAP_S:
        return None
    return float(np.interp(end_s, at_s, joules) - np.interp(begin_s, at_s, joules))


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
