"""What accelerators did between two moments, by live.jsonl; and which part of a test is steady."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness_llm.core import NANOSECONDS_PER_SECOND
from harness_llm.results.energy import device_readings, energy
from harness_llm.results.live_records import DeviceState, LiveRecord
from harness_llm.results.sample_rows import Floats, SampleRows, columns_of
from harness_llm.results.token_times import begins_s, spread

_LONGEST_GAP_S = 3.0
_AROUND_S = 6.0  # of a window, readings that may bracket it
_SHORTEST_S = 10.0
_MOST_DISAGREEMENT = 0.05
_MOST_THERMAL = 0.01
_LEAST_STEADY = 0.1  # of a test


@dataclass(frozen=True)
class WindowFacts:
    """One window; None: not measured. Energy is that of the boards, by their drivers, and not MLPerf Power.

    Attributes:
        seconds: Its length.
        devices: How many accelerators were sampled.
        energy_j: By the accelerators' own counters, joules, all together; the integral where they have none.
        integral_j: By their power over time.
        watts: Mean power, all together.
        mhz: Mean clock.
        busy: Mean share of time with any work, 0..1.
        memory_busy: Mean share of time in which memory was read or written, 0..1.
        celsius: Temperature at its start and at its end, of the hottest.
        capped: Share of its seconds in which power limited the clock.
        thermal: Share of its seconds in which heat did.
        cores: Mean cores that the command's processes used; None where not measured.
        other_cores: Mean cores that all other processes used; None where not measured.
        reasons: Why its figures may not count.
    """

    seconds: float
    devices: int = 0
    energy_j: float | None = None
    integral_j: float | None = None
    watts: float | None = None
    mhz: float | None = None
    busy: float | None = None
    memory_busy: float | None = None
    celsius: tuple[float, float] | None = None
    capped: float | None = None
    thermal: float | None = None
    cores: float | None = None
    other_cores: float | None = None
    reasons: tuple[str, ...] = ()


def window(records: Sequence[LiveRecord], begin_s: float, end_s: float) -> WindowFacts:
    """What the accelerators did between two moments of the monotonic clock."""
    seconds = end_s - begin_s
    first = bisect_left(records, begin_s - _AROUND_S, key=lambda record: record.at_s)
    records = records[first : bisect_right(records, end_s + _AROUND_S, key=lambda record: record.at_s)]
    states = _states(records, begin_s, end_s)
    hosts = [it.host for it in records if begin_s < it.at_s <= end_s]
    cores, others = _mean([it.own_cores for it in hosts]), _mean([it.other_cores for it in hosts])
    if not states:
        return WindowFacts(seconds, cores=cores, other_cores=others)
    found = energy(records, begin_s, end_s)
    counter, integral = (None, None) if found is None else (found.counter_j, found.integral_j)
    inside = [[it for it in own if begin_s < it.at_s <= end_s + 1] or own[-1:] for own in states.values()]
    every = [state for own in inside for state in own]
    hottest = max(inside, key=lambda own: max(it.celsius or 0.0 for it in own))
    temperatures = [it.celsius for it in hottest if it.celsius is not None]
    thermal = float(np.mean(["heat" in it.throttled for it in every]))
    return WindowFacts(
        seconds=seconds,
        devices=len(states),
        energy_j=integral if counter is None else counter,
        integral_j=integral,
        watts=None if integral is None else integral / seconds,
        mhz=_mean([it.mhz for it in every]),
        busy=_mean([it.busy for it in every]),
        memory_busy=_mean([it.memory_busy for it in every]),
        celsius=(temperatures[0], temperatures[-1]) if temperatures else None,
        capped=float(np.mean(["power" in it.throttled for it in every])),
        thermal=thermal,
        cores=cores,
        other_cores=others,
        reasons=tuple(_reasons(states, begin_s, end_s, counter, integral, thermal)),
    )


def utc_of(records: Sequence[LiveRecord], at_s: float) -> float:
    """Seconds since 1970 of a moment of the monotonic clock, by the record nearest to it."""
    nearest = min(records, key=lambda record: abs(record.at_s - at_s), default=None)
    return at_s + (0.0 if nearest is None else nearest.utc_s - nearest.at_s)


def _states(records: Sequence[LiveRecord], begin_s: float, end_s: float) -> dict[int, list[DeviceState]]:
    """Readings of each accelerator around a window: the last before it, and up to the first after it."""
    found = {}
    for index, own in device_readings(records, begin_s).items():
        before = sum(it.at_s <= begin_s for it in own)
        until = sum(it.at_s < end_s for it in own)
        found[index] = own[max(0, before - 1) : until + 1]
    return found


def _reasons(
    states: dict[int, list[DeviceState]],
    begin_s: float,
    end_s: float,
    counter: float | None,
    integral: float | None,
    thermal: float,
) -> list[str]:
    times = [np.array([it.at_s for it in own]) for own in states.values()]
    reasons = []
    if any(at_s[0] > begin_s or at_s[-1] < end_s for at_s in times):
        reasons.append("window_not_bracketed")
    if any(np.diff(at_s).max(initial=0.0) > _LONGEST_GAP_S for at_s in times):
        reasons.append("sampling_gap")
    counters = [[it.counter_j for it in own if it.counter_j is not None] for own in states.values()]
    if any(np.diff(own).min(initial=0.0) < 0 for own in counters):
        reasons.append("counter_reset")
    if counter is not None and integral and abs(counter / integral - 1) > _MOST_DISAGREEMENT:
        reasons.append("energy_disagrees")
    counts = [len(own) for own in states.values()]
    if max(counts) - min(counts) > 2:  # one at each end may differ: cards are read one after another
        reasons.append("device_missing")
    if end_s - begin_s < _SHORTEST_S:
        reasons.append("short_window")
    if thermal > _MOST_THERMAL:
        reasons.append("thermal")
    return reasons


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def steady(events: npt.NDArray[Any], concurrent: int) -> tuple[float, float] | None:
    """Start and end, seconds, of the part of a test in which its engine is full; None where nothing finished.

    From when as many samples have their first token as the engine holds until fewer are left than it holds.
    Offline asks for no first token, and all at once: there from the first answer's end, by when the engine
    has taken as many as it holds, unless that answer was very short. Where that is too short, the whole test.
    """
    finished = np.sort(events["finished_ns"][events["finished_ns"] > 0])
    if not len(finished):
        return None
    begin, end = int(events["issued_ns"].min()), int(finished[-1])
    begun = np.sort(events["first_token_ns"][events["first_token_ns"] > 0])
    full = begun[min(concurrent, len(begun)) - 1] if len(begun) else finished[0]
    drained = finished[max(0, len(finished) - concurrent)]
    if drained - full < _LEAST_STEADY * (end - begin):
        full, drained = begin, end
    return float(full) / NANOSECONDS_PER_SECOND, float(drained) / NANOSECONDS_PER_SECOND


def tokens_between(events: npt.NDArray[Any], edges_s: Floats, places: int | None = None) -> Floats:
    """Output tokens in each stretch between edges.

    Args:
        events: Of a test.
        edges_s: By the events' clock.
        places: Requests that each replica's engine works on at once; see `token_times.begins_s`.
    """
    rows, edges_s = _since_start(events, edges_s)
    return spread(begins_s(rows, places), rows.finished_s, rows.tokens, edges_s)


def prompt_tokens_between(events: npt.NDArray[Any], edges_s: Floats, places: int | None = None) -> Floats:
    """The same of prompt tokens, from a request to its first token; without one, all as the answer starts."""
    rows, edges_s = _since_start(events, edges_s)
    begins = begins_s(rows, places)
    asked = np.where(np.isnan(rows.first_token_s), begins, rows.issued_s)
    return spread(asked, begins, rows.prompt_tokens, edges_s)


def _since_start(events: npt.NDArray[Any], edges_s: Floats) -> tuple[SampleRows, Floats]:
    """The samples that were answered, and the edges by their clock."""
    rows = columns_of(events, events["issued_ns"])
    return rows[rows.is_finished], edges_s - int(events["issued_ns"].min()) / NANOSECONDS_PER_SECOND
