"""A test ends early only where no LoadGen could call it VALID: random latencies, looked at often."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_llm.core import EventStatus
from harness_llm.loadgen.late import LateWatch, ServerPlan
from harness_llm.logs.early_stopping import max_over_limit
from harness_llm.logs.schedule import arrivals_ns
from harness_llm.results.events import EVENT_DTYPE

MS = 10**6
START = 5 * 10**9
TTFT, TPOT = 200 * MS, 20 * MS


def plan(queries: int, percentile: float = 0.99) -> ServerPlan:
    return ServerPlan(7, 1000.0, queries, percentile, TTFT, TPOT)


def finished(
    ttft_ns: npt.NDArray[np.int64], tpot_ns: npt.NDArray[np.int64], delay_ns: npt.NDArray[np.int64]
) -> np.ndarray:
    """Events of a test that ended: issued a little after they were due, ten tokens each."""
    rows = np.zeros(len(ttft_ns), EVENT_DTYPE)
    due = START + arrivals_ns(7, 1000.0, len(rows))
    rows["issued_ns"] = np.maximum.accumulate(due + delay_ns)
    rows["first_token_ns"] = np.maximum(due + ttft_ns, rows["issued_ns"] + 1)
    rows["tokens"] = 10
    rows["finished_ns"] = rows["first_token_ns"] + 9 * tpot_ns
    rows["status"] = EventStatus.FINISHED
    return rows


def as_of(rows: np.ndarray, now: int) -> np.ndarray:
    """What of it is in the file at a time."""
    seen = rows[rows["issued_ns"] <= now].copy()
    seen["status"] = EventStatus.ISSUED
    seen["status"][seen["first_token_ns"] <= now] = EventStatus.FIRST_TOKEN
    done = seen["finished_ns"] <= now
    seen["status"][done] = EventStatus.FINISHED
    seen["first_token_ns"][seen["first_token_ns"] > now] = 0
    seen["tokens"][~done] = 0
    seen["finished_ns"][~done] = 0
    return seen


def loadgen_is_valid(rows: np.ndarray, percentile: float) -> bool:
    """LoadGen's early stopping, with its own start, which no event knows, and its own due times."""
    due = START + arrivals_ns(7, 1000.0, len(rows))
    ttft = rows["first_token_ns"] - due
    tpot = (rows["finished_ns"] - rows["first_token_ns"]) // 9
    allowed = max_over_limit(len(rows), percentile)
    return bool((ttft > TTFT).sum() <= allowed and (tpot > TPOT).sum() <= allowed)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_test_that_loadgen_calls_valid_is_never_ended(data: st.DataObject) -> None:
    queries = data.draw(st.integers(1, 3000), "queries")
    cut = data.draw(st.integers(0, queries - 1), "fewer than planned") if data.draw(st.booleans()) else 0
    percentile = data.draw(st.sampled_from([0.99, 0.97, 0.9]))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed"))
    allowed = max(0, max_over_limit(queries, percentile))
    late = [data.draw(st.integers(0, min(queries, 2 * allowed + 2)), kind) for kind in ("slow", "late")]
    ttft, tpot = random.integers(1, TTFT, queries), random.integers(1, TPOT, queries)
    for values, count, limit in ((tpot, late[0], TPOT), (ttft, late[1], TTFT)):
        where = random.choice(queries, count, replace=False)
        values[where] = limit + random.integers(-2, 2, count) + random.choice([0, limit, 40 * limit], count)
    rows = finished(ttft, tpot, random.integers(0, 3 * MS, queries))[: queries - cut]
    watch, reason = LateWatch(plan(queries, percentile)), ""
    times = sorted(random.integers(START, int(rows["finished_ns"].max()) + MS, 30).tolist())
    for now in [*times, int(rows["finished_ns"].max()) + 10**9]:
        reason = reason or watch.why_lost(as_of(rows, now)[watch.settled :], now)
    assert not (reason and loadgen_is_valid(rows, percentile)), reason


def test_one_more_than_early_stopping_allows_ends_it_at_once() -> None:
    allowed = max_over_limit(24_576)
    assert allowed == 209
    for late, is_lost in ((allowed, False), (allowed + 1, True)):
        ttft = np.full(24_576, MS)
        ttft[:late] = 3 * TTFT
        rows = finished(ttft, np.full(24_576, MS), np.zeros(24_576, np.int64))
        now = int(rows["issued_ns"][0]) + 10**9
        seen = as_of(rows, now)
        assert len(seen) < 1200
        reason = LateWatch(plan(24_576)).why_lost(seen, now)
        assert bool(reason) is is_lost
    assert "210 samples are over the TTFT limit of 200 ms" in reason
    assert "of the 24,576 that LoadGen issues at most 209 may be" in reason


def test_queries_without_a_first_token_count_as_soon_as_they_are_late() -> None:
    rows = finished(*(np.full(2000, 10**12),) * 2, np.zeros(2000, np.int64))
    watch, allowed = LateWatch(plan(2000)), max_over_limit(2000)
    ends = [
        now
        for now in range(START, START + 10**9, 10 * MS)
        if watch.why_lost(as_of(rows, now)[watch.settled :], now)
    ]
    margin = 2 * MS + TTFT // 50
    lost = int(rows["issued_ns"][allowed]) + TTFT + margin
    assert ends and lost < ends[0] <= lost + 10 * MS


def test_so_few_queries_that_none_may_be_late_are_measured_to_their_end() -> None:
    rows = finished(*(np.full(100, 10**12),) * 2, np.zeros(100, np.int64))
    assert LateWatch(plan(100)).why_lost(rows, 10**13) == ""
