"""ReplicaLink over real sockets, with the replica's end in the test's hands."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.datasets.table import SampleTable
from harness_llm.errors import ProtocolError, ReplicaLost
from harness_llm.loadgen.ledger import Ledger
from harness_llm.loadgen.links import ReplicaLink
from harness_llm.loadgen.router import PushRouter
from harness_llm.loadgen.sut import Sut
from harness_llm.testing import FakeLoadgen
from harness_llm.transport.wire import (
    PROTOCOL_VERSION,
    Close,
    Events,
    Open,
    Submit,
    Welcome,
    decode_data,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Wire:
    """A ReplicaLink, whose clock moves as the test says, and the replica's socket, in this process."""

    def __init__(self, silence_s: float = 8.0) -> None:
        self.now = 1000.0
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.replica = self.context.socket(zmq.ROUTER)
        self.replica.bind("inproc://replica")
        self.link = ReplicaLink(
            self.context, 0, "inproc://replica", "session", silence_s,
            welcome_timeout_s=5.0, clock=lambda: self.now,
        )  # fmt: skip
        self.hear = b""

    def receive(self) -> object:
        assert self.replica.poll(5000)
        peer, frame = self.replica.recv_multipart()
        if peer.endswith(b"/hear"):
            self.hear = peer
        return decode_data(frame)

    def open(self, reply: object = None, session: str = "session", version: int = PROTOCOL_VERSION) -> None:
        def answer() -> None:
            assert self.receive() == Open(PROTOCOL_VERSION, "session")
            self.send(reply or Welcome(version, session, 12))

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            self.link.open()
        finally:
            thread.join()

    def send(self, message: object) -> None:
        self.replica.send_multipart([self.hear, encode(message)])  # type: ignore[arg-type]


@pytest.fixture
def wire() -> Iterator[_Wire]:
    wire = _Wire()
    yield wire
    wire.context.destroy(linger=0)


def _empty(seq: int, read: int = 0) -> Events:
    return Events(seq, read, [], [], [], [], [])


def test_a_session_opens_asks_in_order_and_closes(wire: _Wire) -> None:
    wire.open()
    assert wire.link.max_concurrent == 12
    wire.link.ask([])
    wire.link.ask([])
    assert [wire.receive(), wire.receive()] == [Submit(0, []), Submit(1, [])]
    wire.link.close()
    assert wire.receive() == Close()


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        (_empty(0), "expected Welcome, got Events"),
        (Welcome(PROTOCOL_VERSION, "another", 1), "expected Welcome"),
        (Welcome(PROTOCOL_VERSION + 1, "session", 1), f"speaks protocol {PROTOCOL_VERSION + 1}"),
    ],
)
def test_a_wrong_welcome_is_refused(wire: _Wire, reply: object, named: str) -> None:
    with pytest.raises(ProtocolError, match=named):
        wire.open(reply)


def test_no_welcome_is_a_lost_replica(wire: _Wire) -> None:
    link = ReplicaLink(wire.context, 0, "inproc://replica", "another", 8.0, welcome_timeout_s=0.05)
    with pytest.raises(ReplicaLost, match="replica 0: no answer"):
        link.open()
    link.close()


@given(data=st.data())
def test_messages_lost_doubled_or_reordered_on_the_way_are_found(data: st.DataObject) -> None:
    wire = _Wire()
    try:
        wire.open()
        order = list(range(8))
        place = data.draw(st.integers(0, 6))
        fault = data.draw(st.sampled_from(["lost", "doubled", "swapped"]))
        if fault == "lost":
            del order[place]
        elif fault == "doubled":
            order.insert(data.draw(st.integers(place + 1, 8)), place)
        else:
            order[place], order[place + 1] = order[place + 1], order[place]
        for seq in order:
            wire.send(_empty(seq))
        heard = []
        with pytest.raises(ProtocolError, match="replica 0: message . (was lost|arrived twice)"):
            while wire.link.hear.poll(5000):
                heard += [events.seq for events in wire.link.heard()]
        assert heard == list(range(len(heard)))
    finally:
        wire.context.destroy(linger=0)


def test_a_flood_from_one_replica_leaves_others_their_turn(wire: _Wire) -> None:
    wire.open()
    for seq in range(300):
        wire.send(_empty(seq))
    turns: list[int] = []
    while sum(turns) < 300:
        assert wire.link.hear.poll(5000)
        turns.append(len(list(wire.link.heard())))
    assert max(turns) <= 64


def _hear(wire: _Wire, message: object) -> None:
    wire.send(message)
    assert wire.link.hear.poll(5000)
    list(wire.link.heard())


def test_a_submit_that_is_never_read_is_found(wire: _Wire) -> None:
    wire.open()
    wire.link.ask([])
    _hear(wire, _empty(0, read=0))
    _hear(wire, _empty(1, read=1))
    wire.link.ask([])
    wire.now += 9
    _hear(wire, _empty(2, read=1))
    wire.now += 1
    with pytest.raises(ProtocolError, match="has read 1 of 2 messages"):
        _hear(wire, _empty(3, read=1))


def test_a_replica_that_says_nothing_on_the_data_plane_is_lost(wire: _Wire) -> None:
    wire.open()
    wire.link.check_alive()
    wire.now += 10
    with pytest.raises(ReplicaLost, match="event loop is stuck"):
        wire.link.check_alive()
    _hear(wire, _empty(0))
    wire.link.check_alive()


@pytest.mark.parametrize("silence_s", [3.0, 60.0])
def test_the_users_patience_holds_on_the_data_plane_just_after_the_supervisors(silence_s: float) -> None:
    wire = _Wire(silence_s)
    wire.now += silence_s + 1.2  # a turn of 0.2 s and a heartbeat of 1 s later: the supervisor spoke
    wire.link.check_alive()
    wire.now += 0.6
    with pytest.raises(ReplicaLost, match="harness_config.silence_timeout_s"):
        wire.link.check_alive()
    wire.context.destroy(linger=0)


def test_the_receiver_reports_what_ends_it_once(wire: _Wire, tmp_path: Path) -> None:
    wire.open()
    table = SampleTable.from_prompts("t", [[n, n + 1] for n in range(5)], max_tokens=9, min_tokens=2)
    fatal: list[BaseException] = []
    loadgen = FakeLoadgen()
    (query,) = loadgen.draw([4])
    ledger = Ledger(tmp_path / "events.npy")
    sut = Sut(
        table=table,
        links=[wire.link],
        router=PushRouter(1),
        ledger=ledger,
        reporter=loadgen,
        reports_first_tokens=True,
        on_fatal=fatal.append,
    )
    sut.start()
    sut.issue([query], [4])
    request = wire.receive()
    assert isinstance(request, Submit)
    assert request.requests[0].prompt == table.prompt(4).tobytes()
    wire.send(Events(0, 1, [0], [7], [], [], []))
    wire.send(Events(1, 1, [], [], [0], [b"abcdefgh"], []))
    wire.send(Events(3, 1, [], [], [], [], []))
    deadline = time.monotonic() + 5
    while not fatal and time.monotonic() < deadline:
        time.sleep(0.01)
    sut.stop()
    assert [str(error).splitlines()[0] for error in fatal] == [
        "replica 0: message 2 was lost (message 3 arrived instead)"
    ]
    assert loadgen.complete == {query: b"abcdefgh"}
    assert loadgen.first == {query: 7}
    ledger.close()
