"""LoadGen's figures of a test against the harness's own events, which have another, monotonic clock.

LoadGen begins to count before the harness is handed a query, and notes an answer after the harness did. So
its times are a little longer, and never shorter: they are held against a narrow bound below, and a wide one
above.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from harness_llm.core import NANOSECONDS_PER_MS, NANOSECONDS_PER_SECOND, EventStatus, Scenario
from harness_llm.logs.detail import SIX_DIGITS, DetailLog
from harness_llm.logs.schedule import arrivals_ns, is_real_rate
from harness_llm.results.recompute import percentile, start_ns, tpot_ns

_Events = npt.NDArray[np.void]

_SHORTER_S = 0.02  # that LoadGen's test may be, beside six digits of its rate
_LONGER_S, _LONGER_SHARE = 0.25, 0.02
HANDED_OVER_S = 2e-6
"""Seconds per sample that LoadGen's clock may run before the harness has it; Offline issues all at once."""
_FASTER_MS, _FASTER_SHARE = 2, 0.01  # that LoadGen's percentile may be
_SLOWER_MS, _SLOWER_SHARE = 50, 0.05
_SHARES = (0.5, 0.9, 0.99)
_CLOCKS = "LoadGen goes by the system clock, the harness by a monotonic one"


def disagreements(events: _Events, log: DetailLog, scenario: Scenario, target_qps: float) -> Iterator[str]:
    """What LoadGen's log of a performance test and its events do not agree on, a sentence each.

    Args:
        events: Every row of the test.
        log: LoadGen's detail log, whole.
        scenario: The scenario.
        target_qps: As user.conf has it, samples per second.
    """
    answered = int((events["status"] == EventStatus.FINISHED).sum())
    key = "result_query_count" if scenario.is_timed_per_token else "generated_samples_per_query"
    issued = log.integer(key)
    if not issued == len(events) == answered:
        yield (
            f"LoadGen's log has {issued if issued is None else f'{issued:,}'} samples, "
            f"the harness's events {len(events):,}, of which {answered:,} are answered"
        )
    elif len(events):
        arrivals = _arrivals(events, log, target_qps) if scenario.is_timed_per_token else None
        yield from _rates(events, log, arrivals, is_timed=scenario.is_timed_per_token)
        if arrivals is not None:
            yield from _latencies(events, log, arrivals)


def logged_schedule(log: DetailLog, target_qps: float | None) -> tuple[int, float] | None:
    """Seed and rate of a log's schedule; None where it has no real one.

    Args:
        log: LoadGen's detail log.
        target_qps: The rate of user.conf, samples per second, of which the log has six digits; None where
            user.conf has none.
    """
    seed, rate = log.integer("effective_schedule_rng_seed"), log.number("effective_target_qps")
    if seed is None or rate is None or not is_real_rate(rate):
        return None
    is_asked = target_qps is not None and math.isclose(target_qps, rate, rel_tol=SIX_DIGITS)
    return seed & (2**64 - 1), float(target_qps) if is_asked and target_qps else rate


def _arrivals(events: _Events, log: DetailLog, target_qps: float) -> npt.NDArray[np.int64] | None:
    """When each query was due, ns after the start; None where the log has no real schedule."""
    schedule = logged_schedule(log, target_qps)
    return arrivals_ns(*schedule, len(events)) if schedule else None


def _rates(
    events: _Events, log: DetailLog, arrivals: npt.NDArray[np.int64] | None, *, is_timed: bool
) -> Iterator[str]:
    """Length of the test, tokens, and with both of them tokens/s."""
    theirs = _seconds(log, len(events), is_timed=is_timed)
    start = int(events["issued_ns"].min()) if arrivals is None else start_ns(events, arrivals)
    # Server's rate ends with the query that was issued last, not with the one that ended last.
    end = int(events["finished_ns"][-1] if is_timed else events["finished_ns"].max())
    ours = (end - start) / NANOSECONDS_PER_SECOND
    if theirs is None or ours <= 0:
        yield f"LoadGen's log does not say how long the test was; by the harness's events {ours:.3f} s"
        return
    tokens, rate = int(events["tokens"].sum()), log.tokens_per_second
    shorter = ours - theirs > _SHORTER_S + 2 * SIX_DIGITS * ours
    longer = theirs - ours > max(_LONGER_S, _LONGER_SHARE * ours) + HANDED_OVER_S * len(events)
    if shorter or longer:
        unit, count, said = (
            ("tokens", tokens, rate) if rate else ("samples", len(events), len(events) / theirs)
        )
        yield (
            f"LoadGen measured {theirs:.3f} s and {said:,.1f} {unit}/s, the harness {ours:.3f} s and "
            f"{count / ours:,.1f} {unit}/s ({_CLOCKS})"
        )
    counted = None if rate is None else rate * theirs
    if counted is not None and not math.isclose(counted, tokens, rel_tol=4 * SIX_DIGITS, abs_tol=1):
        yield f"LoadGen counted {counted:,.0f} tokens, the harness {tokens:,}"


def _seconds(log: DetailLog, samples: int, *, is_timed: bool) -> float | None:
    """Length of the test by which LoadGen divides."""
    if is_timed:
        rate = log.number("result_completed_samples_per_sec")
        return (samples - 1) / rate if rate else None
    latest = log.integer("result_max_latency_ns")
    return None if latest is None else latest / NANOSECONDS_PER_SECOND


def _latencies(events: _Events, log: DetailLog, arrivals: npt.NDArray[np.int64]) -> Iterator[str]:
    ttft = events["first_token_ns"] - (arrivals + start_ns(events, arrivals))
    kinds: tuple[tuple[str, str, npt.NDArray[Any]], ...] = (
        ("TTFT", "result_first_token_{}_percentile_latency_ns", ttft),
        ("TPOT", "result_time_per_output_token_{}_percentile_ns", tpot_ns(events)),
    )
    for name, key, values in kinds:
        for share in _SHARES:
            theirs, ours = log.integer(key.format(f"{share * 100:.2f}")), percentile(values, share)
            if theirs is None:
                continue
            faster = ours - theirs > _FASTER_MS * NANOSECONDS_PER_MS + _FASTER_SHARE * ours
            slower = theirs - ours > _SLOWER_MS * NANOSECONDS_PER_MS + _SLOWER_SHARE * ours
            if faster or slower:
                yield (
                    f"LoadGen's {name} has a {share:.0%} percentile of {theirs / 1e6:,.1f} ms, the harness's "
                    f"events {ours / 1e6:,.1f} ms ({_CLOCKS})"
                )
                break
