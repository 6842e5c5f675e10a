"""Energy of a stretch of a run, from the records of live.jsonl, by two ways of measuring it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness_llm.core import NANOSECONDS_PER_SECOND
from harness_llm.results.events import sound_events
from harness_llm.results.live_file import read_live
from harness_llm.results.live_records import DeviceState, LiveRecord
from harness_llm.results.paths import EVENTS_NPY

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

    def per_token(self, tokens: float) -> dict[str, float]:
        """J/token by each way that is known: `counter`, `integral`."""
        ways = {"counter": self.counter_j, "integral": self.integral_j}
        return {way: joules / tokens for way, joules in ways.items() if joules is not None and tokens}


def told(per_token: Mapping[str, float]) -> str:
    """J/token for people; empty where it is not known."""
    words = {"counter": "by the devices' counters", "integral": "by their power over time"}
    return ", ".join(f"{joules:.3g} J/token {words[way]}" for way, joules in per_token.items())


def joules_per_token(test: Path) -> dict[str, float]:
    """J/token of a whole test, from its first query to its last answer; empty where it is not known.

    Raises:
        FolderError: live.jsonl cannot be read.
    """
    records, (events, _) = read_live(test.parent.parent), sound_events(test / EVENTS_NPY)
    if not records or events is None or not len(events):
        return {}
    begin, end = int(events["issued_ns"].min()), int(events["finished_ns"].max())
    found = energy(records, begin / NANOSECONDS_PER_SECOND, end / NANOSECONDS_PER_SECOND)
    return {} if found is None else found.per_token(int(events["tokens"].sum()))


def energy(records: Sequence[LiveRecord], begin_s: float, end_s: float) -> Energy | None:
    """Energy between two moments of the monotonic clock; None where nothing was sampled.

    Args:
        records: In order; of several commands the one at the start counts.
        begin_s: From when on.
        end_s: Until when.
    """
    readings = device_readings(records, begin_s)
    if not readings:
        return None
    counted = [_between(own, "counter_j", begin_s, end_s) for own in readings.values()]
    summed = [_between(own, "integral_j", begin_s, end_s) for own in readings.values()]
    return Energy(len(readings), _sum(counted), _sum(summed))


def device_readings(records: Sequence[LiveRecord], begin_s: float) -> dict[int, list[DeviceState]]:
    """Readings of each accelerator, in order, of the command that ran at a moment of the monotonic clock."""
    found: dict[int, list[DeviceState]] = {}
    began_s = max((it.began_at_s for it in records if it.began_at_s <= begin_s), default=begin_s)
    for record in [record for record in records if record.began_at_s == began_s]:
        for device in record.devices:
            own = found.setdefault(device.index, [])
            if not own or device.at_s > own[-1].at_s:
                own.append(device)
    return found


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
