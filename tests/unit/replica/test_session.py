from __future__ import annotations

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
