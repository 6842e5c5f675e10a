"""The replica process: one engine, asked by loadgen processes, watched by the supervisor.

Started by the supervisor as `python -m harness_llm.replica.process SPEC`. It outlives tests: each test
opens a session, and what an earlier session left unfinished is answered to nobody.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from harness_llm.engines import make_engine
from harness_llm.errors import ProtocolError
from harness_llm.replica.session import Session
from harness_llm.transport.control import ControlClient, bind, die_with_parent
from harness_llm.transport.spec import ReplicaSpec, read_spec
from harness_llm.transport.wire import (
    PROTOCOL_VERSION,
    Close,
    Open,
    Ready,
    Stage,
    Submit,
    Welcome,
    decode_data,
    encode,
)

if TYPE_CHECKING:
    from harness_llm.engines.base import Engine, Request

__all__ = ["main"]

_log = logging.getLogger(__name__)
_TICK_S = 1.0
_DRAIN_LIMIT = 64  # messages read before other work on the loop gets its turn
_EXIT_FAILED = 3


class _Replica:
    """Reads requests, gives them to the engine, and sends what comes of them at the end of each loop turn.

    It is the engine's Sink. Engine request ids are this class's own, so that sessions cannot collide.
    """

    def __init__(self, engine: Engine, socket: zmq.Socket[bytes]) -> None:
        self._engine = engine
        self._socket = socket
        self._sessions: dict[str, Session] = {}
        self._owners: dict[int, tuple[Session, int]] = {}
        self._next_id = 0
        self._dirty: list[Session] = []
        self._flush_is_due = False
        self.max_concurrent = 0

    @property
    def in_flight(self) -> int:
        return len(self._owners)

    def serve(self) -> None:
        """Begin to read; call it on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(int(self._socket.getsockopt(zmq.FD)), self._drain)
        self._loop.call_soon(self._drain)

    # ------------------------------------------------------------------ engine -> sessions (Sink)

    def first_token(self, request_id: int, token: int) -> None:
        session, ordinal = self._owners[request_id]
        session.first_token(ordinal, token)
        self._touch(session)

    def finished(self, request_id: int, tokens: bytes) -> None:
        session, ordinal = self._owners.pop(request_id)
        session.finished(ordinal, tokens)
        self._touch(session)

    def failed(self, request_id: int, reason: str) -> None:
        session, ordinal = self._owners.pop(request_id)
        session.failed(ordinal, reason)
        self._touch(session)

    def _touch(self, session: Session) -> None:
        if not session.is_dirty:
            session.is_dirty = True
            self._dirty.append(session)
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        dirty, self._dirty = self._dirty, []
        for session in dirty:
            self._send(session)
        # Sending may swallow the edge that the descriptor would have signalled.
        if int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._loop.call_soon(self._drain)

    def _send(self, session: Session) -> None:
        session.is_dirty = False
        if not session.is_closed:
            self._socket.send_multipart([session.hear, encode(session.take_events())])

    def tick(self) -> None:
        """Say to every session how far it was read; then read, for sending may have swallowed an edge."""
        for session in self._sessions.values():
            self._send(session)
        self._drain()

    # ------------------------------------------------------------------ sessions -> engine

    def _drain(self) -> None:
        for _ in range(_DRAIN_LIMIT):
            try:
                peer, frame = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._handle(peer, frame)
        self._loop.call_soon(self._drain)

    def _handle(self, peer: bytes, frame: bytes) -> None:
        message = decode_data(frame)
        name = peer.decode().rpartition("/")[0]
        match message:
            case Open():
                self._sessions[name] = Session(name, hear=peer)
                self._socket.send_multipart(
                    [peer, encode(Welcome(PROTOCOL_VERSION, message.session, self.max_concurrent))]
                )
            case Submit() if name in self._sessions:
                session = self._sessions[name]
                session.read(message.seq)
                self._engine.submit([self._own(session, request) for request in message.requests])
            case Close() if name in self._sessions:
                self._sessions.pop(name).is_closed = True
            case _:
                raise ProtocolError(f"unexpected {type(message).__name__} from {name!r}")

    def _own(self, session: Session, request: Request) -> Request:
        self._next_id += 1
        self._owners[self._next_id] = (session, request.id)
        return type(request)(
            self._next_id, request.prompt, request.min_tokens, request.max_tokens, request.wants_first_token
        )


async def _run(spec: ReplicaSpec, context: zmq.Context[zmq.Socket[bytes]]) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    broken: list[BaseException] = []

    def on_loop_error(_: Any, details: dict[str, Any]) -> None:
        error = details.get("exception") or RuntimeError(str(details.get("message")))
        _log.error("the replica cannot go on", exc_info=error)
        broken.append(error)
        stop.set()

    loop.set_exception_handler(on_loop_error)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    socket = context.socket(zmq.ROUTER)
    for option in (zmq.SNDHWM, zmq.RCVHWM, zmq.LINGER):
        socket.setsockopt(option, 0)
    engine = make_engine(spec.engine, spec.engine_arguments)
    replica = _Replica(engine, socket)

    def stop_soon() -> None:
        loop.call_soon_threadsafe(stop.set)

    control = ControlClient(
        context,
        spec.control,
        spec.name,
        lambda: replica.in_flight,
        stop_soon,
    )
    with control:
        try:
            endpoint = bind(socket, spec.endpoint)
            control.send(Stage("loading the model"))
            facts = await engine.start(replica)
            replica.max_concurrent = facts.max_concurrent
            replica.serve()
            gc.collect()
            gc.freeze()
            control.send(Ready(PROTOCOL_VERSION, endpoint, dataclasses.asdict(facts)))
            while not stop.is_set():
                engine.check()
                replica.tick()
                try:
                    await asyncio.wait_for(stop.wait(), _TICK_S)
                except TimeoutError:
                    continue
            if broken:
                raise broken[0]
            return 0
        except Exception as error:  # noqa: BLE001 - the process's edge: reported, then it ends
            _log.error("the replica cannot go on", exc_info=error)
            control.fail(error)
            return _EXIT_FAILED
        finally:
            await engine.stop()
            socket.close()


def main() -> None:
    """Run the replica whose spec file is the only argument."""
    die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    spec = read_spec(ReplicaSpec, Path(sys.argv[1]))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    code = asyncio.run(_run(spec, context))
    context.term()
    sys.stderr.flush()
    os._exit(code)  # engines leave threads behind that would keep the interpreter


if __name__ == "__main__":
    main()
