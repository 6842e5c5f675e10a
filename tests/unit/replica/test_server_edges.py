"""The replica's server over a socket that never signals, as ZeroMQ's does not when an edge is swallowed."""

from __future__ import annotations

import asyncio
import os
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

import zmq

from harness_llm.core import Request
from harness_llm.replica.server import Server
from harness_llm.testing import HeldEngine
from harness_llm.transport.wire import (
    PROTOCOL_VERSION,
    Close,
    DataMessage,
    Events,
    Open,
    Submit,
    Welcome,
    decode_data,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence


class _DeafSocket:
    """Has messages, and a descriptor that never says so."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.came: deque[list[bytes]] = deque()
        self.sent: list[DataMessage] = []

    def put(self, part: str, message: DataMessage) -> None:
        self.came.append([f"s/{part}".encode(), encode(message)])

    def getsockopt(self, option: int) -> int:
        if option == zmq.FD:
            return self.descriptor
        assert option == zmq.EVENTS
        return zmq.POLLOUT | (zmq.POLLIN if self.came else 0)

    def recv_multipart(self, flags: int) -> list[bytes]:
        assert flags == zmq.NOBLOCK
        if not self.came:
            raise zmq.Again
        return self.came.popleft()

    def send_multipart(self, frames: list[bytes]) -> None:
        self.sent.append(decode_data(frames[1]))


def _with_server(test: Callable[[Server, _DeafSocket, HeldEngine], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        reads, writes = os.pipe()
        socket, engine = _DeafSocket(reads), HeldEngine()
        server = Server(engine, socket)  # type: ignore[arg-type]  # the socket
        socket.put("hear", Open(PROTOCOL_VERSION, "s"))
        server.serve(4)
        await _settle()
        assert socket.sent == [Welcome(PROTOCOL_VERSION, "s", 4)]
        try:
            await test(server, socket, engine)
        finally:
            asyncio.get_running_loop().remove_reader(reads)
            os.close(reads)
            os.close(writes)

    asyncio.run(run())


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def _submit(seq: int) -> Submit:
    return Submit(seq, [Request(seq, struct.pack("<i", 7), 2, 3, False)])


def test_a_tick_reads_what_no_edge_announced() -> None:
    async def test(server: Server, socket: _DeafSocket, engine: HeldEngine) -> None:
        socket.put("ask", _submit(0))
        await _settle()
        assert engine.submitted == [], "the descriptor is silent"
        server.tick()
        assert len(engine.submitted) == 1

    _with_server(test)


def test_what_came_while_events_were_sent_is_read_after_them() -> None:
    async def test(server: Server, socket: _DeafSocket, engine: HeldEngine) -> None:
        socket.put("ask", _submit(0))
        server.tick()
        socket.put("ask", _submit(1))
        server.finished(engine.submitted[0], struct.pack("<2i", 5, 6))
        await _settle()
        assert len(engine.submitted) == 2
        (events,) = [
            message for message in socket.sent if isinstance(message, Events) and message.finished_ids
        ]
        assert events.finished_ids == [0]

    _with_server(test)


def test_an_answer_that_meets_the_close_of_its_session_goes_nowhere() -> None:
    async def test(server: Server, socket: _DeafSocket, engine: HeldEngine) -> None:
        submit = engine.submit

        def answer_at_once(requests: Sequence[Request]) -> None:
            submit(requests)
            server.finished(engine.submitted[0], struct.pack("<2i", 5, 6))  # to be sent after this turn

        engine.submit = answer_at_once  # type: ignore[method-assign]
        socket.put("ask", _submit(0))
        socket.put("ask", Close())  # read in the same turn
        server.tick()
        assert server.in_flight == 0 and engine.submitted
        sent = list(socket.sent)
        await _settle()
        assert socket.sent == sent

    _with_server(test)
