"""How long a replica may generate nothing: derived from its own steps, never from what others are asked."""

from __future__ import annotations

import pytest

from harness_llm.fleet.pace import FIRST_PATIENCE_S, PATIENCE_S, STALL_S, Pace
from harness_llm.transport.wire import Heartbeat

BUSY = Heartbeat(in_flight=8, generated=0, requests=8, prompt_tokens=800, longest_prompt=100)


def _with(heartbeat: Heartbeat, **changes: int | None) -> Heartbeat:
    fields = {name: getattr(heartbeat, name) for name in heartbeat.__struct_fields__}
    return Heartbeat(**{**fields, **changes})


class _Replica:
    """Beats once a second."""

    def __init__(self, limit_s: float | None = None) -> None:
        self.pace = Pace(limit_s)
        self.now = 0.0
        self.generated = self.answers = 0

    def beat(
        self, seconds: float = 1, *, step: int = 0, answers: int = 0, **changes: int | None
    ) -> float | None:
        self.now += seconds
        self.generated += step
        self.answers += answers
        fields = {"generated": self.generated, "answers": self.answers, **changes}
        return self.pace.hear(_with(BUSY, **fields), self.now)

    def work(self, steps: int, gap_s: float = 1) -> None:
        for _ in range(steps):
            assert self.beat(gap_s, step=8, answers=1) is None

    def stall(self, **changes: int | None) -> float:
        """Seconds without progress until it is called stalled."""
        for second in range(1, 3000):
            if self.beat(**changes) is not None:
                return second
        raise AssertionError("never")


def test_a_stall_is_called_soon_once_the_pace_is_known() -> None:
    replica = _Replica()
    replica.work(20)
    assert replica.stall() == PATIENCE_S + 1


def test_requests_that_are_asked_of_it_are_no_progress() -> None:
    replica = _Replica()
    replica.work(20)
    asked = 8
    for second in range(1, 30):
        asked += 10
        if replica.beat(in_flight=asked, requests=asked, prompt_tokens=100 * asked) is not None:
            assert second == PATIENCE_S + 1
            return
    raise AssertionError("never")


@pytest.mark.parametrize("word", ["generated", "first_tokens", "answers"])
def test_every_sign_of_progress_counts(word: str) -> None:
    pace = Pace(None)
    for second in range(1, 200):
        assert pace.hear(_with(BUSY, **{word: second // 10}), second) is None


def test_an_idle_replica_never_stalls_and_its_patience_begins_with_its_work() -> None:
    replica = _Replica()
    replica.work(20)
    for _ in range(500):
        assert replica.beat(in_flight=0) is None
    assert replica.stall() == PATIENCE_S + 2  # one beat tells that it has work


def test_the_first_steps_may_take_long_and_a_long_first_prompt_longer() -> None:
    assert _Replica().stall() == FIRST_PATIENCE_S + 2
    assert _Replica().stall(longest_prompt=20_000) == 202


def test_slow_steps_make_patient() -> None:
    replica = _Replica()
    replica.work(8, gap_s=6)
    assert replica.stall() == 61


def test_a_prompt_far_longer_than_those_before_has_its_time() -> None:
    replica = _Replica()
    replica.work(20)  # a second for each answer, whose prompts have 100 tokens
    # 10 ms a token at most: 12,000 tokens take 120 s, and nothing need come out of it meanwhile
    assert replica.stall(longest_prompt=12_000) == pytest.approx(3 * 120 * 20 / 20, abs=25)


def test_an_engine_that_cannot_say_is_given_the_longest_time_and_the_users_word_holds() -> None:
    assert _Replica().stall(generated=None) == STALL_S + 2
    replica = _Replica(limit_s=4)
    assert replica.stall() == 6


def test_how_long_it_stands_still_is_known_before_it_is_called_stalled() -> None:
    replica = _Replica()
    assert replica.pace.still_s(5) == 0
    replica.work(20)
    assert replica.pace.still_s(replica.now) == 0
    replica.beat()
    replica.beat()
    assert replica.pace.still_s(replica.now) == 2
    replica.beat(in_flight=0)
    assert replica.pace.still_s(replica.now + 9) == 0
