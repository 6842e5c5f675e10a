"""What a loadgen process sees beside LoadGen: steps of the system clock, and answers that cannot be."""

from __future__ import annotations

import struct

import pytest

from harness_llm.loadgen.answers import AnswerWatch
from harness_llm.loadgen.clock import ClockWatch
from harness_llm.results.observed import told_steps

S = 10**9


class _Clocks:
    def __init__(self) -> None:
        self.now, self.step, self.pause = 0, 0, 0

    def system(self) -> int:
        self.now += self.pause
        return 1_700_000_000 * S + self.now + self.step

    def monotonic(self) -> int:
        self.now += 100
        return self.now


def test_steps_are_seen_however_late_one_looks_and_time_that_passes_is_none() -> None:
    clocks = _Clocks()
    watch = ClockWatch(clocks.system, clocks.monotonic)
    for step, waited in ((0, 600 * S), (-7 * S, S // 2), (-7 * S, 40 * S), (-7 * S + 20_000_000, 0)):
        clocks.step = step
        clocks.now += waited
        watch.compare()
    assert watch.steps_s == pytest.approx([-7.0, 0.02], abs=1e-5)
    assert "was set by -6.980 s in 2 steps during the test" in told_steps(watch.steps_s)


def test_a_process_that_is_held_up_between_two_readings_saw_no_step() -> None:
    clocks = _Clocks()
    watch = ClockWatch(clocks.system, clocks.monotonic)
    clocks.pause = 50_000_000
    watch.compare()
    assert watch.steps_s == []


def test_the_machines_own_clocks_agree() -> None:
    watch = ClockWatch()
    for _ in range(100):
        watch.compare()
    assert watch.steps_s == [] and told_steps([]) == "" and told_steps([0.004, -0.003]) == ""


def _packed(*tokens: int) -> bytes:
    return struct.pack(f"<{len(tokens)}i", *tokens)


@pytest.mark.parametrize(
    ("answer", "first", "fault"),
    [
        (_packed(5, 6, 2), 5, ""),
        (_packed(5, 6, 2), None, ""),
        (_packed(5, 6, 2), 6, "begins with token 5, but 6 was reported as its first"),
        (b"", None, "has 0 tokens, 2 to 4 were asked for"),
        (_packed(5), 5, "has 1 token,"),
        (_packed(1, 2, 3, 4, 5), 1, "has 5 tokens"),
        (_packed(1, 2, 3)[:-1], 1, "has 11 bytes"),
        (_packed(5, -1, 2), 5, "token ids below 0"),
        (_packed(-1, 5), -1, "token ids below 0"),
        (_packed(5, 1 << 24), 5, "token ids below 0 or above 16,777,215"),
        (_packed(5, (1 << 24) - 1), 5, ""),
    ],
)
def test_what_is_wrong_with_an_answer(answer: bytes, first: int | None, fault: str) -> None:
    watch = AnswerWatch(2)
    found = watch.add(1, answer, 2, 4, first)
    assert fault in found and bool(found) == bool(fault)
    seen = watch.seen[1]
    assert (seen.answers, watch.seen[0].answers) == (1, 0)
    assert seen.one_token_id == 0, "none of these is one token again and again, an empty one least of all"
    assert seen.other_first_token == ("begins" in fault) and seen.odd_length == ("bytes" in fault)
    assert seen.no_token == ("token ids" in fault)


def test_likeness_is_seen_replica_by_replica() -> None:
    watch = AnswerWatch(3)
    for number in range(5):
        watch.add(0, _packed(7, 8), 2, 4, None)
        watch.add(1, _packed(0, 0, 0), 2, 4, None)
        watch.add(2, _packed(number, 9), 2, 4, None)
    assert [seen.are_alike for seen in watch.seen] == [True, True, False]
    assert [seen.one_token_id for seen in watch.seen] == [0, 5, 0]
