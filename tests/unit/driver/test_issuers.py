from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from harness_llm.driver.issuers import Schedule, make_issuer
from harness_llm.errors import DatasetError
from harness_llm.transport.spec import DriverTest

RULES: tuple[Literal["timed", "slots", "groups"], ...] = ("timed", "slots", "groups")


def _replay(test: DriverTest, schedule: Schedule, random: np.random.Generator) -> list[tuple[int, int]]:
    """(issued, answered) of each row, by an engine that takes a random time for each."""
    issuer, rows, running, now = make_issuer(test, schedule), [], [], 0
    while len([row for row in rows if row[1] >= 0]) < len(schedule):
        count = min(issuer.due(now), len(schedule) - len(rows))
        for _ in range(count):
            heapq.heappush(running, (now + int(random.integers(1, 50)), len(rows)))
            rows.append((now, -1))
        if count:
            continue
        times = [running[0][0]] if running else []
        coming = issuer.next_ns()
        if coming is not None and len(rows) < len(schedule):
            times.append(max(coming, now + 1))
        now = min(times)
        done = 0
        while running and running[0][0] <= now:
            at, row = heapq.heappop(running)
            rows[row] = (rows[row][0], at)
            done += 1
        issuer.answered(done, now)
    return rows


@pytest.mark.parametrize("rule", RULES)
def test_each_row_is_issued_once_and_as_its_rule_says(rule: Any) -> None:
    random = np.random.default_rng(7)
    for _ in range(700):
        count, width = int(random.integers(1, 40)), int(random.integers(1, 6))
        at_ns = np.sort(random.integers(0, 200, count))
        schedule = Schedule(at_ns, np.zeros(count, np.int64))
        think = int(random.integers(0, 10))
        rows = _replay(DriverTest("x", "", "", rule, width, think_ns=think), schedule, random)
        assert len(rows) == count
        issued, answered = np.array(rows).T
        for moment in issued:
            open_ = int(((issued <= moment) & (answered > moment)).sum())
            assert rule == "timed" or open_ <= width
        if rule == "timed":
            assert (issued == at_ns).all()
        if rule == "groups":
            starts = issued[::width]
            assert all(
                answered[: place * width].max() <= start for place, start in enumerate(starts) if place
            )
        if rule == "slots" and count > width:
            assert sorted(issued[width:]) == sorted(np.sort(answered)[: count - width] + think)


def test_a_timed_schedule_goes_on_over_its_end_at_its_own_rate() -> None:
    schedule = Schedule(np.array([0, 10, 20]), np.zeros(3, np.int64))
    issuer = make_issuer(DriverTest("x", "", "", "timed"), schedule)
    assert [issuer.due(now) for now in range(0, 70, 10)] == [1] * 7


@pytest.mark.parametrize(("at_ns", "by_900"), [([30], 9), ([50, 50, 50], 27), ([0, 1], 19), ([0, 100], 19)])
def test_a_timed_schedule_of_few_moments_begins_again_with_its_own_period(
    at_ns: list[int], by_900: int
) -> None:
    schedule = Schedule(np.array(at_ns), np.zeros(len(at_ns), np.int64))
    at_once, bit_by_bit = (
        make_issuer(DriverTest("x", "", "", "timed", period_ns=100), schedule) for _ in "ab"
    )
    assert at_once.due(900) == by_900 == sum(bit_by_bit.due(now) for now in range(901))
    assert at_once.next_ns() == bit_by_bit.next_ns()


def test_a_schedule_is_read_back_and_nothing_else_is(tmp_path: Path) -> None:
    Schedule(np.array([0, 5]), np.array([1, 0])).save(tmp_path / "s.npy")
    again = Schedule.load(tmp_path / "s.npy")
    assert again.at_ns.tolist() == [0, 5] and again.sample.tolist() == [1, 0]
    np.save(tmp_path / "other.npy", np.zeros(3))
    with pytest.raises(DatasetError, match="not a schedule"):
        Schedule.load(tmp_path / "other.npy")
