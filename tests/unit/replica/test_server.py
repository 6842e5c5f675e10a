"""The replica's server over real sockets, with the simulated engine or one in the test's hands."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

import pytest
import zmq

from harness_llm.core import Request
from harness_llm.engines.simulated import SimulatedEngine, simulated_answer
from harness_llm.errors import EngineError, ProtocolError
from harness_llm.replica.server import Server
from harness_llm.testing import HeldEngine
from harness_llm.transport.wire import (
    PROTOCOL_VERSION,
    RELEASE,
    Close,
    DataMessage,
    Events,
    Heartbeat,
    Open,
    Submit,
    Welcome,
    decode_data,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ENDPOINT = "inproc://replica"


class _Peer:
    """A loadgen process's end of one session."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], session: str) -> None:
        self.session = session
        self._sockets = {}
        for part in ("ask", "hear"):
            socket = context.socket(zmq.DEALER)
            socket.setsockopt(zmq.IDENTITY, f"{session}/{part}".encode())
            socket.connect(ENDPOINT)
            self._sockets[part] = socket
        self._submits = 0

    def send(self, message: DataMessage, part: str = "ask") -> None:
        self._sockets[part].send(encode(message))

    def open(self) -> None:
        self.send(Open(PROTOCOL_VERSION, self.session), "hear")

    def submit(self, *requests: Request) -> None:
        self.send(Submit(self._submits, list(requests)))
        self._submits += 1

    async def hear(self, seconds: float = 2.0) -> DataMessage | None:
        """The next message, or None."""
        hear = self._sockets["hear"]
        for _ in range(int(seconds / 0.002)):
            if hear.poll(0):
                return decode_data(hear.recv())
            await asyncio.sleep(0.002)
        return None

    async def finished(self, count: int) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        while len(found) < count:
            message = await self.hear()
            assert isinstance(message, Events)
            assert not message.failures
            found.update(zip(message.finished_ids, message.finished_tokens, strict=True))
        return found


class _World:
    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.bind(ENDPOINT)
        self.server = Server(engine, self.socket)
        self.peers: list[_Peer] = []
        self.errors: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, details: self.errors.append(details["exception"])
        )

    def peer(self, session: str) -> _Peer:
        self.peers.append(_Peer(self.context, session))
        return self.peers[-1]

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(int(self.socket.getsockopt(zmq.FD)))
        self.context.destroy(linger=0)

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.002)
        raise AssertionError("it never came")


def _with_world(engine: Callable[[], Any], test: Callable[[_World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = _World(engine())
        await world.engine.start(world.server)
        world.server.serve(7)
        try:
            await test(world)
        finally:
            await world.engine.stop()
            world.close()

    asyncio.run(run())


def _request(number: int, tokens: int = 4, *, wants_first_token: bool = False) -> Request:
    return Request(number, struct.pack("<2i", 3, number), tokens, tokens, wants_first_token)


def test_a_session_is_welcomed_and_answered() -> None:
    async def test(world: _World) -> None:
        peer = world.peer("a")
        peer.open()
        assert await peer.hear() == Welcome(PROTOCOL_VERSION, "a", 7)
        requests = [_request(n) for n in range(300)]
        peer.submit(*requests[:100])
        peer.submit(*requests[100:])
        assert await peer.finished(300) == {r.id: simulated_answer(r.prompt, 4, 4) for r in requests}
        assert world.server.in_flight == 0
        assert world.server.heartbeat() == Heartbeat(0, 0, 300, 1200, 1200, 300, 600, 2)
        peer.submit(_request(300, wants_first_token=True), _request(301, wants_first_token=True))
        await peer.finished(2)
        assert world.server.heartbeat() == Heartbeat(0, 2, 302, 1208, 1208, 302, 604, 2)
        assert not world.errors

    _with_world(lambda: SimulatedEngine({}), test)


def test_a_session_begins_only_when_the_engine_has_let_go_of_the_one_before() -> None:
    async def test(world: _World) -> None:
        first, second = world.peer("a"), world.peer("b")
        first.open()
        await first.hear()
        first.submit(_request(5), _request(6))
        await world.until(lambda: len(world.engine.submitted) == 2)
        second.open()
        await world.until(lambda: bool(world.engine.aborted))
        assert world.engine.aborted == [world.engine.submitted]
        world.server.tick()
        assert await second.hear(0.1) is None
        assert await first.hear(0.1) is None, "an ended session hears nothing"
        world.engine.may_let_go.set()
        assert await second.hear() == Welcome(PROTOCOL_VERSION, "b", 7)
        assert world.server.in_flight == 0
        second.submit(_request(5))
        await world.until(lambda: len(world.engine.submitted) == 3)
        assert world.server.in_flight == 1
        assert len(set(world.engine.submitted)) == 3, "the engine never sees an id twice"
        assert not world.errors

    _with_world(HeldEngine, test)


def test_a_close_gives_up_what_is_unfinished_and_the_next_session_waits_for_it() -> None:
    async def test(world: _World) -> None:
        first, second = world.peer("a"), world.peer("b")
        first.open()
        await first.hear()
        first.submit(_request(5))
        first.send(Close())
        await world.until(lambda: bool(world.engine.aborted))
        assert world.server.in_flight == 0
        second.open()
        assert await second.hear(0.1) is None
        world.engine.may_let_go.set()
        assert isinstance(await second.hear(), Welcome)
        assert len(world.engine.aborted) == 1
        assert not world.errors

    _with_world(HeldEngine, test)


def test_a_close_after_the_last_answer_aborts_nothing() -> None:
    async def test(world: _World) -> None:
        peer = world.peer("a")
        peer.open()
        await peer.hear()
        peer.submit(_request(1))
        await peer.finished(1)
        world.engine.abort = None  # would fail
        peer.send(Close())
        again = world.peer("b")
        again.open()
        assert isinstance(await again.hear(), Welcome)
        assert not world.errors

    _with_world(lambda: SimulatedEngine({}), test)


def test_of_two_sessions_that_open_at_once_the_later_is_served() -> None:
    async def test(world: _World) -> None:
        world.engine.may_let_go.set()
        peers = [world.peer(name) for name in "ab"]
        for peer in peers:
            peer.open()
        assert [type(await peer.hear()) for peer in peers] == [Welcome, Welcome]
        world.server.tick()
        heard = [await peer.hear(0.1) for peer in peers]
        assert sorted(message is None for message in heard) == [False, True]

    _with_world(HeldEngine, test)


def test_a_late_close_harms_nothing_and_a_late_request_is_an_error() -> None:
    async def test(world: _World) -> None:
        world.engine.may_let_go.set()
        first, second = world.peer("a"), world.peer("b")
        first.open()
        await first.hear()
        second.open()
        await second.hear()
        first.send(Close())
        second.submit(_request(1))
        await world.until(lambda: world.server.in_flight == 1)
        assert not world.errors
        first.submit(_request(2))
        await world.until(lambda: bool(world.errors))
        assert isinstance(world.errors[0], ProtocolError)
        assert "unexpected Submit from 'a'" in str(world.errors[0])

    _with_world(HeldEngine, test)


def test_what_a_process_that_is_gone_still_asks_is_dropped() -> None:
    """A test that is given up may have thousands of requests on their way."""

    async def test(world: _World) -> None:
        world.engine.may_let_go.set()
        gone, release, after = world.peer("a"), world.peer(f"{RELEASE}1"), world.peer("b")
        gone.open()
        await gone.hear()
        release.open()
        await release.hear()
        gone.submit(_request(1))
        release.send(Close())
        after.open()
        await after.hear()
        gone.submit(_request(2))
        after.submit(_request(3))
        await world.until(lambda: world.server.in_flight == 1)
        assert not world.errors

    _with_world(HeldEngine, test)


def test_an_engine_that_does_not_let_go_ends_the_replica() -> None:
    async def test(world: _World) -> None:
        world.engine.error = EngineError("still at it")
        world.engine.may_let_go.set()
        first, second = world.peer("a"), world.peer("b")
        first.open()
        await first.hear()
        first.submit(_request(1))
        await world.until(lambda: world.server.in_flight == 1)
        second.open()
        await world.until(lambda: bool(world.errors))
        assert str(world.errors[0]) == "still at it"
        assert await second.hear(0.05) is None

    _with_world(HeldEngine, test)


@pytest.mark.parametrize("way", ["close", "open"])
def test_requests_of_an_earlier_session_take_no_place_from_the_next(way: str) -> None:
    """40 requests of 20 ms, two at a time, would hold the engine for 400 ms."""

    async def test(world: _World) -> None:
        first, second = world.peer("a"), world.peer("b")
        first.open()
        await first.hear()
        first.submit(*(_request(n) for n in range(40)))
        await world.until(lambda: world.server.in_flight == 40)
        if way == "close":
            first.send(Close())
        second.open()
        assert isinstance(await second.hear(), Welcome)
        loop = asyncio.get_running_loop()
        began = loop.time()
        second.submit(_request(7))
        assert set(await second.finished(1)) == {7}
        assert 0.02 <= loop.time() - began < 0.15
        assert world.server.in_flight == 0
        assert not world.errors

    _with_world(lambda: SimulatedEngine({"first_token_ms": 20, "concurrent": 2}), test)
