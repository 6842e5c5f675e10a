from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.errors import ProtocolError
from harness_llm.replica.session import Session
from harness_llm.transport.session import Sequence
from harness_llm.transport.wire import Events


@given(st.lists(st.integers(0, 6), max_size=12))
def test_only_0_1_2_and_so_on_is_accepted(numbers: list[int]) -> None:
    sequence = Sequence("replica 0")
    for place, number in enumerate(numbers):
        if number == place:
            sequence.accept(number)
            assert sequence.count == place + 1
            continue
        with pytest.raises(ProtocolError, match="was lost" if number > place else "came twice"):
            sequence.accept(number)
        assert sequence.count == place
        break


def test_the_error_names_sender_and_both_numbers() -> None:
    sequence = Sequence("replica 3")
    sequence.accept(0)
    with pytest.raises(ProtocolError, match=r"replica 3: message 1 was lost \(message 5 came"):
        sequence.accept(5)


def test_events_are_handed_out_once_and_numbered() -> None:
    session = Session("s", b"peer")
    session.read(0)
    session.read(1)
    session.first_token(7, 70)
    session.finished(8, b"abcd")
    session.failed(9, "why")
    assert session.take_events() == Events(0, 2, [7], [70], [8], [b"abcd"], [(9, "why")])
    assert session.take_events() == Events(1, 2, [], [], [], [], [])
    with pytest.raises(ProtocolError):
        session.read(3)
