from __future__ import annotations

import pytest

from harness_llm.fleet.gate import Gate, Until


def _armed(until: Until) -> Gate:
    gate = Gate(["a", "b"], until, arm_timeout_s=10, now_s=0)
    gate.armed("a")
    assert gate.next(1) is None
    gate.armed("b")
    assert gate.next(2) == "go"
    assert gate.next(2) is None
    return gate


def test_all_begin_when_all_are_armed_and_end_when_all_are_measured() -> None:
    gate = _armed("all")
    gate.measured("b")
    assert gate.next(100) is None
    gate.measured("a")
    assert gate.next(101) == "finish"
    assert gate.next(102) is None


def test_the_first_that_is_measured_may_end_it_or_a_time() -> None:
    gate = _armed("first")
    gate.measured("b")
    assert gate.next(3) == "finish"
    gate = _armed(5.0)
    assert gate.next(6.9) is None
    assert gate.next(7.0) == "finish"


@pytest.mark.parametrize("armed", [[], ["a"], ["b"]])
def test_who_is_not_ready_in_time_is_named(armed: list[str]) -> None:
    gate = Gate(["a", "b"], "all", arm_timeout_s=10, now_s=5)
    for name in armed:
        gate.armed(name)
    assert gate.late(15) == []
    assert gate.late(15.1) == sorted({"a", "b"} - set(armed))
