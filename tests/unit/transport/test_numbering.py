from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.errors import ProtocolError
from harness_llm.transport.numbering import MessageCounter


@given(st.lists(st.integers(0, 6), max_size=12))
def test_only_0_1_2_and_so_on_is_accepted(numbers: list[int]) -> None:
    counter = MessageCounter("replica 0")
    for place, number in enumerate(numbers):
        if number == place:
            counter.accept(number)
            assert counter.count == place + 1
            continue
        with pytest.raises(ProtocolError, match="was lost" if number > place else "arrived twice"):
            counter.accept(number)
        assert counter.count == place
        break


def test_the_error_names_sender_and_both_numbers() -> None:
    counter = MessageCounter("replica 3")
    counter.accept(0)
    with pytest.raises(ProtocolError, match=r"replica 3: message 1 was lost \(message 5 arrived"):
        counter.accept(5)
