"""Whether a Server test can still be VALID: how many samples are over a limit for certain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_llm.core import EventStatus, counted
from harness_llm.logs.early_stopping import max_over_limit
from harness_llm.logs.schedule import arrivals_ns, is_real_rate, server_query_count
from harness_llm.results.recompute import beyond_doubt_ns, start_ns, tpot_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

_MOST_QUERIES = 10_000_000
_MOST_TIME_NS = 2**62


@dataclass(frozen=True)
class ServerPlan:
    """What LoadGen will issue, and by what it will judge it.

    Attributes:
        seed: Of the schedule.
        target_qps: Queries a second.
        queries: Most queries that it issues.
        percentile: Share of them that must be within the limits.
        ttft_limit_ns: Limit of the first-token latency, ns.
        tpot_limit_ns: Limit of the time per output token, ns.
    """

    seed: int
    target_qps: float
    queries: int
    percentile: float
    ttft_limit_ns: int
    tpot_limit_ns: int

    @classmethod
    def of(cls, settings: Mapping[str, Any], samples: int) -> ServerPlan | None:
        """By LoadGen's settings; None where it judges no token latencies, or nobody can count its queries.

        Args:
            settings: Fields of LoadGen's `TestSettings`; see `lib.settings_fields`.
            samples: Samples of the data set.
        """
        qps, minutes_ns = float(settings["server_target_qps"]), int(settings["min_duration_ms"]) * 10**6
        likely = max(int(settings["min_query_count"]), minutes_ns / 1e9 * qps)
        if not settings["use_token_latencies"] or not is_real_rate(qps) or likely > _MOST_QUERIES:
            return None
        queries = server_query_count(
            int(settings["schedule_rng_seed"]),
            qps,
            min_queries=int(settings["min_query_count"]),
            min_duration_ns=minutes_ns,
            whole_sets_of=(
                min(int(settings["performance_sample_count_override"]) or samples, samples)
                if settings["sample_concatenate_permutation"]
                else None
            ),
        )
        most = int(settings["max_query_count"])
        return cls(
            seed=int(settings["schedule_rng_seed"]),
            target_qps=qps,
            queries=min(queries, most) if most else queries,
            percentile=float(settings["server_target_latency_percentile"]),
            ttft_limit_ns=int(settings["ttft_latency"]),
            tpot_limit_ns=int(settings["tpot_latency"]),
        )


class LateWatch:
    """Counts samples over the limits while a test runs; never one that LoadGen may count within.

    TTFT counts from the time a query was due, on a start of the test that is never too early; a query
    without a first token is late as soon as its limit is over. The more queries, the more of them may be
    late, so the most that LoadGen can issue decide.

    Args:
        plan: What LoadGen will issue.
    """

    def __init__(self, plan: ServerPlan) -> None:
        self._plan = plan
        self._arrivals = arrivals_ns(plan.seed, plan.target_qps, plan.queries)
        self._allowed = max_over_limit(plan.queries, plan.percentile)
        self._start = _MOST_TIME_NS
        self._seen = 0
        self.settled = 0
        self._late_first = self._slow = 0

    def why_lost(self, events: npt.NDArray[Any], now_ns: int) -> str:
        """Why the test cannot be VALID any more; empty while it can.

        Args:
            events: Rows of the event file from row `settled` on; no later event may bear an earlier time
                than `now_ns`.
            now_ns: The time, on the clock of the events.
        """
        plan, end = self._plan, self.settled + len(events)
        if self._allowed < 0 or not len(events) or end > plan.queries:
            return ""
        if end > self._seen:
            new = slice(self._seen - self.settled, None)
            self._start = min(self._start, start_ns(events[new], self._arrivals[self._seen : end]))
            self._seen = end
        due = self._arrivals[self.settled : end] + self._start
        first = events["first_token_ns"]
        late_first = np.where(first > 0, first, now_ns) - due > beyond_doubt_ns(plan.ttft_limit_ns)
        done = events["status"] == EventStatus.FINISHED
        slow = done & (tpot_ns(events) > beyond_doubt_ns(plan.tpot_limit_ns))
        late = self._late_first + int(late_first.sum()), self._slow + int(slow.sum())
        settled = len(done) if done.all() else int(np.argmin(done))
        self._late_first += int(late_first[:settled].sum())
        self._slow += int(slow[:settled].sum())
        self.settled += settled
        for name, count, limit in zip(
            ("TTFT", "TPOT"), late, (plan.ttft_limit_ns, plan.tpot_limit_ns), strict=True
        ):
            if count > self._allowed:
                return self._arithmetic(name, count, limit)
        return ""

    def _arithmetic(self, name: str, count: int, limit_ns: int) -> str:
        who = counted(count, "sample is", "samples are")
        return (
            f"{who} over the {name} limit of {limit_ns / 1e6:g} ms, and of the "
            f"{self._plan.queries:,} that LoadGen issues at most {self._allowed:,} may be (early stopping, "
            f"{self._plan.percentile:.0%} within the limit at a confidence of 99 %)"
        )
