"""LoadGen's Server schedule, made again from its seed.

LoadGen draws each gap between queries from `std::exponential_distribution<double>` over `std::mt19937`
(mlcommons/inference @b66003e1 loadgen/loadgen.cc lines 199-208, 296-297 and 336-401). Its wheels are built
with libstdc++, whose `generate_canonical<double, 53>` takes two 32-bit draws, low word first, and whose
exponential distribution is `-log(1 - u) / lambda`; numpy's MT19937 gives the same draws for the same 32-bit
seed. So the time at which each query was due is known to the nanosecond; LoadGen writes the time at which
query n + 1 would have been due as `generated_query_duration`, which proves it for each run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harness_llm.core import NANOSECONDS_PER_SECOND

MOST_QUERIES = 10**7
"""Queries of a Server run: a day at 100 a second; beyond that a log is no run's."""

_RATES = (1e-6, 1e9)
_BLOCK = 2**16
_KEPT_BLOCKS = 32
_ENDLESS = 2**62


def is_real_rate(target_qps: float) -> bool:
    """Whether a run can have had this rate, queries/s; a damaged log may hold any number."""
    return _RATES[0] <= target_qps <= _RATES[1]


def arrivals_ns(seed: int, target_qps: float, count: int) -> npt.NDArray[np.int64]:
    """When each Server query is due, ns after the start of the test.

    Args:
        seed: `effective_schedule_rng_seed`, unsigned 64-bit; the generator takes its low 32 bits.
        target_qps: `effective_target_qps`, queries per second, above zero.
        count: Queries.

    Returns:
        int64, shape (count,), ascending from 0: query i is due at element i.
    """
    assert target_qps > 0 and count >= 0, (target_qps, count)
    arrivals = np.zeros(count, np.int64)
    filled = 1
    for gaps in _gaps_ns(seed, target_qps, max(0, count - 1)):
        arrivals[filled : filled + len(gaps)] = gaps
        filled += len(gaps)
    np.cumsum(arrivals, out=arrivals)
    return arrivals


def _gaps_ns(seed: int, target_qps: float, count: int) -> Iterator[npt.NDArray[np.int64]]:
    """The gaps between queries in whole nanoseconds, as LoadGen cuts them, a block at a time."""
    blocks = _unit_gaps(seed & 0xFFFFFFFF).blocks()
    for first in range(0, count, _BLOCK):
        yield (next(blocks)[: count - first] / target_qps * NANOSECONDS_PER_SECOND).astype(np.int64)


class _UnitGaps:
    """Gaps between queries at one a second, s, in blocks; a round has one seed, so they serve every log.

    A run of millions of queries would hold 100 MB of them; those beyond the first two million are made again.
    """

    def __init__(self, seed: int) -> None:
        # RandomState seeds by the reference initialisation (init_genrand), as std::mt19937 does.
        self._generator = np.random.RandomState(seed)
        self._kept: list[npt.NDArray[np.float64]] = []

    def blocks(self) -> Iterator[npt.NDArray[np.float64]]:
        """Blocks of `_BLOCK` gaps from the first on, without an end."""
        for number in range(_KEPT_BLOCKS):
            if number == len(self._kept):
                self._kept.append(self._drawn(self._generator))
            yield self._kept[number]
        further = np.random.RandomState()
        further.set_state(self._generator.get_state())
        while True:
            yield self._drawn(further)

    @staticmethod
    def _drawn(generator: np.random.RandomState) -> npt.NDArray[np.float64]:
        draws = generator.randint(0, 2**32, size=2 * _BLOCK, dtype=np.uint32).astype(np.float64)
        canonical = (draws[0::2] + draws[1::2] * 2.0**32) / 2.0**64
        gaps: npt.NDArray[np.float64] = -np.log(1.0 - np.minimum(canonical, math.nextafter(1.0, 0.0)))
        gaps.flags.writeable = False
        return gaps


_unit_gaps = lru_cache(maxsize=2)(_UnitGaps)


def server_query_count(
    seed: int, target_qps: float, *, min_queries: int, min_duration_ns: int, whole_sets_of: int | None
) -> int:
    """How many queries LoadGen makes for a Server performance test, before it issues the first.

    It makes them until both minima are met by the schedule; with `sample_concatenate_permutation` whole sets
    of samples (mlcommons/inference @b66003e1 loadgen/loadgen.cc lines 297-413). It issues no more than these.

    Args:
        seed: `schedule_rng_seed`.
        target_qps: `server_target_qps`.
        min_queries: `min_query_count`.
        min_duration_ns: `min_duration_ms`, ns.
        whole_sets_of: Samples that are loaded, where queries come in whole sets of them; else None.
    """
    block = whole_sets_of or 1
    by_duration = _due_before(seed, target_qps, min_duration_ns) + 1 if min_duration_ns else 0
    return math.ceil(max(min_queries, by_duration) / block) * block


def _due_before(seed: int, target_qps: float, time_ns: int) -> int:
    """How many queries are due before a time, ns after the start."""
    due, end = 1, 0  # the first is due at 0
    for gaps in _gaps_ns(seed, target_qps, _ENDLESS):
        ends = end + np.cumsum(gaps)
        if ends[-1] >= time_ns:
            return due + int(np.searchsorted(ends, time_ns, "left"))
        due, end = due + len(gaps), int(ends[-1])
    raise AssertionError("more queries than a run can have")


@lru_cache(maxsize=8)
def logged_ends_ns(seed: int, target_qps: float, count: int) -> tuple[int, int]:
    """When the last query of a logged run was due, and when one more would have been, ns after the start.

    Args:
        seed: As logged.
        target_qps: As logged.
        count: Queries, at least 1.
    """
    last = following = 0
    for gaps in _gaps_ns(seed & (2**64 - 1), target_qps, count):
        last, following = following + int(gaps[:-1].sum()), following + int(gaps.sum())
    return last, following
