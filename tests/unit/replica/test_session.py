from __future__ import annotations

import time

import pytest

from harness_llm.errors import ProtocolError
from harness_llm.replica.session import Session
from harness_llm.transport.wire import Events


def test_events_are_handed_out_once_and_numbered() -> None:
    session = Session("s", b"peer")
    session.count_submit(0)
    session.count_submit(1)
    session.add_first_token(7, 70)
    session.add_answer(8, b"abcd")
    session.add_failure(9, "why")
    assert session.take_events() == Events(0, 2, [7], [70], [8], [b"abcd"], [(9, "why")])
    assert session.take_events() == Events(1, 2, [], [], [], [], [])
    with pytest.raises(ProtocolError):
        session.count_submit(3)


def test_a_message_says_when_the_first_of_it_was_taken_over() -> None:
    session = Session("s", b"peer")
    before = time.monotonic_ns()
    session.begin_message()
    after = time.monotonic_ns()
    session.add_first_token(7, 70)
    assert before <= session.take_events().batch_ns <= after
    assert session.take_events().batch_ns == 0, "nothing happened"
