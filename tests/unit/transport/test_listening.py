"""The clock by which silence is judged."""

from __future__ import annotations

import time

import pytest

from harness_llm.transport.listening import ListeningClock


def _after(*steps: float) -> float:
    """What the clock shows after looks that come so many seconds apart."""
    now = [100.0]
    clock = ListeningClock(lambda: now[0])
    for step in steps:
        now[0] += step
        clock.look()
    return clock.now_s


def test_looks_that_follow_closely_make_a_clock_like_any_other() -> None:
    assert _after() == 0
    assert _after(*[0.2] * 50) == pytest.approx(10)
    assert _after(0.9, 0.0, 1.0) == pytest.approx(1.9)


def test_a_late_look_counts_as_one_second_however_late_it_is() -> None:
    assert _after(3600.0) == 1
    assert _after(0.2, 30.0, 0.2, 86_400.0) == pytest.approx(2.4)


def test_it_runs_by_a_monotonic_clock_and_only_when_somebody_looks() -> None:
    clock = ListeningClock()
    time.sleep(0.05)
    assert clock.now_s == 0
    assert 0.04 < clock.look() < 1.01
