"""The numbers by which runs are compared: the value of each side, and the difference with its interval.

A difference is a logarithm of B / A. Where the queries are the same ones, in the same order and due at the
same times, each is compared with itself, which takes the spread of the queries out of the difference. How far
runs of one system differ is known from several pairs only; of one pair its blocks of time have to do, long
ones, because neighbouring seconds of a busy system are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness_llm.compare.intervals import Interval, of_mean, of_means, of_percentile
from harness_llm.compare.sides import Side
from harness_llm.core import NANOSECONDS_PER_MS
from harness_llm.results.sample_rows import Floats

_BLOCK_S = 120.0
_LEAST_BLOCKS = 3
_LEAST_IN_BLOCK = 10
_P99 = 0.99


@dataclass(frozen=True)
class Number:
    """A number of a run.

    Attributes:
        name: Its name and unit.
        more_is_better: Whether a larger one is better.
        value: The number of a side; None where it has none.
        latencies: What it is a mean or percentile of, a value a query; None for a rate.
        is_percentile: Whether it is the 99th percentile of them.
    """

    name: str
    more_is_better: bool
    value: Callable[[Side], float | None]
    latencies: Callable[[Side], Floats] | None = None
    is_percentile: bool = False


@dataclass(frozen=True)
class Difference:
    """How one number differs between two systems.

    Attributes:
        name: The number's name and unit.
        more_is_better: Whether a larger one is better.
        a: A's value, the mean of its runs; None where the logs have none.
        b: B's.
        change: Logarithm of B / A; None where one has no value.
        interval: Of the change; None where too little was measured to tell.
    """

    name: str
    more_is_better: bool
    a: float | None
    b: float | None
    change: float | None
    interval: Interval | None

    @property
    def is_told_apart(self) -> bool:
        """Whether it differs beyond chance."""
        return self.interval is not None and self.interval.tells_apart

    @property
    def is_better(self) -> bool | None:
        """Whether B is better; None where they are not told apart."""
        if not self.is_told_apart or self.change is None:
            return None
        return (self.change > 0) == self.more_is_better


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / NANOSECONDS_PER_MS


def _tpot(side: Side) -> Floats:
    return side.rows.tpot_ms


def _ttft(side: Side) -> Floats:
    return side.rows.ttft_ms


def _rate(side: Side) -> float | None:
    """LoadGen's tokens/s; where it counts samples only, its samples/s times the mean tokens of an answer."""
    samples = side.detail.samples_per_second
    if side.detail.tokens_per_second is None and samples is not None:
        return samples * float(side.rows.tokens.mean())
    return side.detail.tokens_per_second


_RATE = Number("tokens/s", True, _rate)
_TIMED = (
    Number("TPOT mean, ms", False, lambda side: float(_tpot(side).mean()), _tpot),
    Number("TTFT mean, ms", False, lambda side: float(_ttft(side).mean()), _ttft),
    Number("TPOT p99, ms", False, lambda side: _ms(side.detail.tpot_p99_ns), _tpot, is_percentile=True),
    Number("TTFT p99, ms", False, lambda side: _ms(side.detail.ttft_p99_ns), _ttft, is_percentile=True),
    _RATE,
)


def numbers_of(side: Side) -> tuple[Number, ...]:
    """The numbers of its scenario; the first is the one that the verdict goes by."""
    return _TIMED if side.test.scenario.is_timed_per_token else (_RATE,)


def are_paired(a: Side, b: Side) -> bool:
    """Whether both asked the same queries at the same times, one after another."""
    count = min(len(a.rows), len(b.rows))
    return (
        a.test.scenario.is_timed_per_token
        and a.test.target_qps == b.test.target_qps
        and bool((a.rows.sample[:count] == b.rows.sample[:count]).all())
    )


def difference(number: Number, pairs: Sequence[tuple[Side, Side]]) -> Difference:
    """How a number differs, from one pair of runs or from several."""
    values = [[number.value(side) for side in arm] for arm in zip(*pairs, strict=True)]
    a, b = (_mean(arm) for arm in values)
    if not a or not b:
        return Difference(number.name, number.more_is_better, a, b, None, None)
    if len(pairs) == 1:
        change, interval = _one_pair(number, *pairs[0], change=float(np.log(b / a)))
    else:
        changes = np.array([_change(number, *pair) for pair in pairs])
        change, interval = float(changes.mean()), of_mean(changes)
    return Difference(number.name, number.more_is_better, a, b, change, interval)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _change(number: Number, a: Side, b: Side) -> float:
    """Logarithm of B / A of one pair, query by query where it can be."""
    if number.latencies is not None and not number.is_percentile and are_paired(a, b):
        return float(_by_query(number.latencies, a, b).mean())
    one, other = number.value(a), number.value(b)
    assert one and other
    return float(np.log(other / one))


def _by_query(latencies: Callable[[Side], Floats], a: Side, b: Side) -> Floats:
    count = min(len(a.rows), len(b.rows))
    found: Floats = _log(latencies(b)[:count]) - _log(latencies(a)[:count])
    return found


def _log(latencies: Floats) -> Floats:
    found: Floats = np.log(np.maximum(latencies, 1e-6))
    return found


def _one_pair(number: Number, a: Side, b: Side, *, change: float) -> tuple[float, Interval | None]:
    if number.latencies is None:
        return change, _around(change, of_means(*(_long_enough(_rates(side)) for side in (a, b))))
    if number.is_percentile:
        return change, _of_percentiles(number.latencies(a), number.latencies(b))
    if are_paired(a, b):
        by_query = _by_query(number.latencies, a, b)
        blocks = _long_enough(_blocks(a.rows.arrival_s[: len(by_query)], by_query))
        return float(by_query.mean()), _around(float(by_query.mean()), of_mean(blocks))
    blocks_of = [_long_enough(_blocks(side.rows.arrival_s, _log(number.latencies(side)))) for side in (a, b)]
    return change, _around(change, of_means(*blocks_of))


def _around(middle: float, interval: Interval | None) -> Interval | None:
    """As wide, around another middle."""
    if interval is None:
        return None
    half = (interval.high - interval.low) / 2
    return Interval(middle - half, middle + half)


def _of_percentiles(a: Floats, b: Floats) -> Interval | None:
    one, other = of_percentile(a, _P99), of_percentile(b, _P99)
    if one is None or other is None or min(one[0], other[0]) <= 0:
        return None
    return Interval(float(np.log(other[0] / one[1])), float(np.log(other[1] / one[0])))


def _long_enough(blocks: Floats) -> Floats:
    return blocks if len(blocks) >= _LEAST_BLOCKS else blocks[:0]


def _blocks(at_s: Floats, values: Floats) -> Floats:
    """The mean of each block of time that has samples enough."""
    block = (at_s // _BLOCK_S).astype(np.int64)
    counts, sums = np.bincount(block), np.bincount(block, values)
    known = counts >= _LEAST_IN_BLOCK
    means: Floats = sums[known] / counts[known]
    return means


def _rates(side: Side) -> Floats:
    """Logarithm of the tokens that each block of time brought, without the first and the last block."""
    block = (side.rows.finished_s // _BLOCK_S).astype(np.int64)
    tokens = np.bincount(block, side.rows.tokens.astype(np.float64))[1:-1]
    return _log(tokens.astype(np.float64))
