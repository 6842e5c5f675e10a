from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness_llm.core import Request
from harness_llm.errors import ProtocolError
from harness_llm.transport import wire
from harness_llm.transport.wire import (
    Close,
    Events,
    Heartbeat,
    Open,
    Shutdown,
    Submit,
    decode_control,
    decode_data,
    encode,
)

_ids = st.integers(0, 2**63 - 1)
_requests = st.builds(
    Request,
    id=_ids,
    prompt=st.binary(max_size=40),
    min_tokens=st.integers(1, 9),
    max_tokens=st.integers(9, 99),
    wants_first_token=st.booleans(),
)


@st.composite
def _events(draw: st.DrawFn) -> Events:
    first = draw(st.lists(_ids, max_size=4))
    finished = draw(st.lists(_ids, max_size=4))
    return Events(
        draw(_ids),
        draw(_ids),
        first,
        [draw(st.integers(0, 2**31 - 1)) for _ in first],
        finished,
        [draw(st.binary(max_size=16)) for _ in finished],
        draw(st.lists(st.tuples(_ids, st.text(max_size=9)), max_size=3)),
    )


_data = (
    _events()
    | st.builds(Submit, _ids, st.lists(_requests, max_size=3))
    | st.builds(wire.Welcome, st.integers(0, 9), st.text(max_size=9), st.integers(1, 9999))
    | st.builds(Open, st.integers(0, 9), st.text(max_size=9))
    | st.just(Close())
)
_json = st.dictionaries(st.text(max_size=3), st.none() | st.integers(-9, 9) | st.text(max_size=3), max_size=3)
_control = (
    st.builds(wire.Stage, st.text(max_size=9))
    | st.builds(wire.Ready, st.integers(0, 9), st.text(max_size=9), _json)
    | st.builds(Heartbeat, st.integers(0, 99), _ids, _ids, _ids)
    | st.builds(wire.Progress, _ids, _ids, _ids, st.binary(max_size=16), st.binary(max_size=16))
    | st.builds(wire.Failed, st.text(max_size=9), st.text(max_size=9), st.text(max_size=9))
    | st.builds(wire.Done, _json)
    | st.just(Shutdown())
)


@given(_data)
def test_data_messages_come_back_equal(message: wire.DataMessage) -> None:
    assert decode_data(encode(message)) == message


@given(_control)
def test_control_messages_come_back_equal(message: wire.ControlMessage) -> None:
    assert decode_control(encode(message)) == message


@given(st.binary(max_size=60))
@example(b"\x91\xa4\x00\x00\x00\x80")
def test_noise_is_a_protocol_error_or_a_message(frame: bytes) -> None:
    for decode, kinds in ((decode_data, wire.DataMessage), (decode_control, wire.ControlMessage)):
        try:
            assert isinstance(decode(frame), get_args(kinds))
        except ProtocolError:
            continue


@given(_data, st.data())
def test_a_cut_message_is_a_protocol_error(message: wire.DataMessage, data: st.DataObject) -> None:
    frame = encode(message)
    with pytest.raises(ProtocolError, match="malformed"):
        decode_data(frame[: data.draw(st.integers(0, len(frame) - 1))])


def test_the_planes_do_not_mix() -> None:
    with pytest.raises(ProtocolError, match="data plane"):
        decode_data(encode(Heartbeat()))
    with pytest.raises(ProtocolError, match="control plane"):
        decode_control(encode(Close()))


@pytest.mark.parametrize(
    "fields",
    [
        ["Events", 0, 0, [1, 2], [5], [], [], []],
        ["Events", 0, 0, [], [], [1], [], []],
        ["Events", 0, 0, [], [], [], [b"abcd"], []],
        ["Events", "0", 0, [], [], [], [], []],
    ],
)
def test_events_whose_lists_do_not_match_are_malformed(fields: list[object]) -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        decode_data(msgspec.msgpack.encode(fields))
