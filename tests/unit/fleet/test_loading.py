"""A replica that loads: at work for minutes, or doing nothing at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness_llm.fleet.loading import IDLE_S, Loading
from harness_llm.fleet.roles import REPLICA
from harness_llm.launch.child import Child
from harness_llm.launch.launcher import Effort
from harness_llm.testing import FakeHandle

DEAD = "Exception in thread Thread-3 (process_input_sockets):\nTraceback (most recent call last):\n"


def _until_lost(
    cpu_a_second: float, bytes_a_second: int, log: str = "", seconds: int = 400
) -> tuple[int, str]:
    handle = FakeHandle("replica-0", REPLICA, Path("log"), {})
    handle.text, handle.done = log, Effort(0, 0)
    loading = Loading(Child(handle, None, 0, None), 0.0)
    for second in range(1, seconds):
        handle.done = Effort(second * cpu_a_second, second * bytes_a_second)
        if problem := loading.problem(float(second)):
            return second, problem
    return seconds, ""


@pytest.mark.parametrize(("cpu", "io"), [(0.5, 0), (0.0, 5_000_000)])
@pytest.mark.parametrize("log", ["", DEAD])
def test_a_load_that_works_has_its_minutes(cpu: float, io: int, log: str) -> None:
    assert _until_lost(cpu, io, log)[1] == ""


def test_a_load_that_does_nothing_is_lost() -> None:
    second, problem = _until_lost(0.005, 2_000)
    assert IDLE_S < second <= IDLE_S + 3
    assert "does not load any more: for 12" in problem and "no CPU" in problem


def test_one_whose_thread_has_died_is_lost_in_seconds() -> None:
    second, problem = _until_lost(0.005, 2_000, DEAD)
    assert second < 10
    assert "one of its threads has died" in problem


def test_where_nobody_knows_what_it_does_it_is_left_to_the_start_timeout() -> None:
    handle = FakeHandle("replica-0", REPLICA, Path("log"), {})
    loading = Loading(Child(handle, None, 0, None), 0.0)
    assert all(not loading.problem(float(second)) for second in range(600))
