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
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harness_llm.core import NANOSECONDS_PER_SECOND

MOST_QUERIES = 10**7
"""Queries of a Server run: a day at 100 a second; beyond that a log is no run's."""

_RATES = (1e-6, 1e9)


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
    if count == 0:
        return np.empty(0, np.int64)
    gaps = _unit_gaps(seed & 0xFFFFFFFF, 1 << (count - 1).bit_length())[: count - 1] / target_qps
    arrivals = np.zeros(count, np.int64)
    np.cumsum((gaps * NANOSECONDS_PER_SECOND).astype(np.int64), out=arrivals[1:])
    return arrivals


@lru_cache(maxsize=2)
def _unit_gaps(seed: int, count: int) -> npt.NDArray[np.float64]:
    """Gaps between queries at one a second, s; a round has one seed, so they serve every rate and log."""
    # RandomState seeds by the reference initialisation (init_genrand), as std::mt19937 does.
    generator = np.random.RandomState(seed)
    draws = generator.randint(0, 2**32, size=2 * count, dtype=np.uint32).astype(np.float64)
    canonical = (draws[0::2] + draws[1::2] * 2.0**32) / 2.0**64
    gaps: npt.NDArray[np.float64] = -np.log(1.0 - np.minimum(canonical, math.nextafter(1.0, 0.0)))
    gaps.flags.writeable = False
    return gaps


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
    likely = max(min_queries, min_duration_ns / NANOSECONDS_PER_SECOND * target_qps)
    guess = math.ceil(likely + 6 * math.sqrt(likely) + block + 1)
    while True:
        arrivals = arrivals_ns(seed, target_qps, guess)
        if arrivals[-1] >= min_duration_ns:
            last = int(np.searchsorted(arrivals, min_duration_ns, "left"))
            by_duration = last + 1 if min_duration_ns else 0
            return math.ceil(max(min_queries, by_duration) / block) * block
        guess *= 2


@lru_cache(maxsize=2)
def logged_arrivals_ns(seed: int, target_qps: float, count: int) -> npt.NDArray[np.int64]:
    """The same for a logged run, with the arrival after the last; made once for all that is checked by it.

    Args:
        seed: As logged.
        target_qps: As logged.
        count: Queries; the array has one arrival more.
    """
    arrivals = arrivals_ns(seed & (2**64 - 1), target_qps, count + 1)
    arrivals.flags.writeable = False
    return arrivals
