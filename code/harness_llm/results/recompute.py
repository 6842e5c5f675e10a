"""LoadGen's verdict made again: from its own log, and from the harness's per-sample events.

An event file is a structured int64 array with the fields of `EVENT_DTYPE` (`results/events.py`), in the order
of issue; 0 where nothing happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness_llm.core import NANOSECONDS_PER_MS
from harness_llm.logs.early_stopping import max_over_limit
from harness_llm.logs.schedule import arrivals_ns

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LimitCount:
    """How many samples are over a limit, and how many may be.

    Attributes:
        over: Samples over the limit.
        allowed: Most samples that may be, by early stopping; -1 where there are too few samples at all.
        p99_ns: 99th percentile as LoadGen takes it, ns.
        least_ns: Of the fastest sample, ns.
    """

    over: int
    allowed: int
    p99_ns: int
    least_ns: int

    @property
    def is_met(self) -> bool:
        """Whether early stopping lets it pass."""
        return self.over <= self.allowed


@dataclass(frozen=True)
class ServerLatencies:
    """First-token latency and time per output token of each sample of a Server run, ns, in order of issue.

    Attributes:
        ttft_ns: From the time the query was due to its first token, int64, shape (samples,).
        tpot_ns: Time between later tokens, mean of a sample, int64, shape (samples,).
        latency_ns: From the time the query was due to its last token, int64, shape (samples,).
    """

    ttft_ns: Integers
    tpot_ns: Integers
    latency_ns: Integers

    def against(self, ttft_limit_ns: int, tpot_limit_ns: int) -> tuple[LimitCount, LimitCount]:
        """Count the samples over the limits of TTFT and TPOT, in that order."""
        return _count(self.ttft_ns, ttft_limit_ns), _count(self.tpot_ns, tpot_limit_ns)

    def latency_within(self, limit_ns: int) -> LimitCount:
        """Count the samples over the limit of the whole latency, by which LoadGen judges without tokens."""
        return _count(self.latency_ns, limit_ns)


def percentile(values: Integers, share: float) -> int:
    """The value at position floor(n * share) of the sorted values, as LoadGen takes percentiles.

    Source: mlcommons/inference @b66003e1 loadgen/results.cc lines 110-134.
    """
    return int(np.sort(values)[min(len(values) - 1, int(len(values) * share))])


def _count(values: Integers, limit_ns: int) -> LimitCount:
    allowed, p99_ns = max_over_limit(len(values)), percentile(values, 0.99)
    return LimitCount(int((values > limit_ns).sum()), allowed, p99_ns, int(values.min()))


def beyond_doubt_ns(limit_ns: int) -> int:
    """Above this a latency is over its limit by LoadGen's clock, too, ns.

    LoadGen notes a token a little later than the harness does, by what the harness does in between.
    """
    return limit_ns + limit_ns // 50 + 2 * NANOSECONDS_PER_MS


def start_ns(events: npt.NDArray[Any], arrivals: Integers) -> int:
    """Latest time at which the test can have begun: no query was issued before it was due.

    Args:
        events: Rows of an event file.
        arrivals: When each of them was due, ns after the start.
    """
    return int((events["issued_ns"] - arrivals).min())


def due_ns(events: npt.NDArray[Any], seed: int, target_qps: float) -> Integers:
    """When each query of a Server run was due, on the events' clock; see `server_latencies`."""
    arrivals = arrivals_ns(seed, target_qps, len(events))
    return arrivals + start_ns(events, arrivals)


def server_latencies(events: npt.NDArray[Any], seed: int, target_qps: float) -> ServerLatencies:
    """Latencies from the scheduled times, as LoadGen measures them.

    The start of the test on the events' clock is the latest time at which no query was issued before it
    was due; so a latency is shorter than LoadGen's own by its smallest issue delay (microseconds).

    Args:
        events: Rows of an event file, every sample finished.
        seed: `effective_schedule_rng_seed`.
        target_qps: `effective_target_qps`.
    """
    due = due_ns(events, seed, target_qps)
    return ServerLatencies(events["first_token_ns"] - due, tpot_ns(events), events["finished_ns"] - due)


def tpot_ns(events: npt.NDArray[Any]) -> Integers:
    """Time for each token after the first, mean of a sample, ns."""
    spent: Integers = events["finished_ns"] - events["first_token_ns"]
    steps: Integers = np.maximum(events["tokens"] - 1, 1)
    return spent // steps
