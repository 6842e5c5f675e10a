"""What LoadGen will ask in a Server performance test at any rate, and when such a test is VALID."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from harness_llm.logs.early_stopping import max_over_limit
from harness_llm.logs.order import loaded_samples, server_samples
from harness_llm.logs.schedule import arrivals_ns, server_query_count
from harness_llm.results.recompute import LimitCount, percentile
from harness_llm.tune.seen_run import Floats, Integers

_allowed = lru_cache(maxsize=4096)(max_over_limit)


def whole_ns(seconds: Floats) -> Integers:
    """Whole nanoseconds, as LoadGen counts; inf is longer than any run."""
    return (np.minimum(seconds, 1e9) * 1e9).astype(np.int64)


@dataclass(frozen=True)
class AgainstLimits:
    """How a run stands against LoadGen's limits.

    Attributes:
        ttft: Of the time to first token.
        tpot: Of the time for each further token.
        limits_s: Limits of TTFT and TPOT, seconds.
    """

    ttft: LimitCount
    tpot: LimitCount
    limits_s: tuple[float, float]

    @property
    def is_valid(self) -> bool:
        """Whether LoadGen's early stopping passes both."""
        return self.ttft.is_met and self.tpot.is_met

    @property
    def binds(self) -> str:
        """The limit that is nearer to being broken: more samples are over it, or its p99 is nearer to it."""
        ttft, tpot = (
            (count.over, count.p99_ns / limit_s)
            for count, limit_s in zip((self.ttft, self.tpot), self.limits_s, strict=True)
        )
        return "TTFT" if ttft >= tpot else "TPOT"


@dataclass(frozen=True, eq=False)
class Future:
    """A Server performance test, known in advance except for the engine.

    Attributes:
        settings: Fields of LoadGen's `TestSettings`.
        samples: Samples of the data set.
    """

    settings: Mapping[str, Any]
    samples: int
    _known: list[Integers] = field(default_factory=list)

    @property
    def seed(self) -> int:
        """Of the schedule."""
        return int(self.settings["schedule_rng_seed"])

    @property
    def limits_s(self) -> tuple[float, float]:
        """Limits of TTFT and TPOT, seconds."""
        return int(self.settings["ttft_latency"]) / 1e9, int(self.settings["tpot_latency"]) / 1e9

    def count(self, qps: float) -> int:
        """How many queries LoadGen makes at a rate."""
        return server_query_count(
            self.seed,
            qps,
            min_queries=int(self.settings["min_query_count"]),
            min_duration_ns=int(self.settings["min_duration_ms"]) * 10**6,
            whole_sets_of=loaded_samples(self.settings, self.samples)
            if self.settings["sample_concatenate_permutation"]
            else None,
        )

    def order(self, count: int) -> Integers:
        """The sample of each of the first queries."""
        if not self._known or len(self._known[0]) < count:
            self._known[:] = [server_samples(self.settings, self.samples, 2 * count)]
        return self._known[0][:count]

    def asked(self, qps: float, seed: int | None = None) -> tuple[Floats, Integers]:
        """When each query is due, s, and which sample it asks.

        Args:
            qps: The rate.
            seed: Of another schedule; None for the test's own.
        """
        count = self.count(qps)
        return arrivals_ns(self.seed if seed is None else seed, qps, count) / 1e9, self.order(count)

    def judge(self, ttft: Floats, tpot: Floats) -> AgainstLimits:
        """The verdict on a whole run by its latencies, seconds; inf counts as over the limit."""
        found = []
        for values, limit in zip((ttft, tpot), self.limits_s, strict=True):
            whole = whole_ns(values)
            over = int((values > limit).sum())
            found.append(LimitCount(over, _allowed(len(values)), percentile(whole, 0.99), int(whole.min())))
        ttft_count, tpot_count = found
        return AgainstLimits(ttft_count, tpot_count, self.limits_s)
