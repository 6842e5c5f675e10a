"""The replica's end of the data plane: sessions in, requests to the engine, events out."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import zmq

from harness_llm.engines.vitals import Vitals
from harness_llm.errors import ProtocolError
from harness_llm.replica.session import Session
from harness_llm.transport.wire import (
    PROTOCOL_VERSION,
    RELEASE,
    Close,
    Heartbeat,
    Open,
    Submit,
    Welcome,
    decode_data,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from harness_llm.core import Request
    from harness_llm.engines.base import Engine


_log = logging.getLogger(__name__)
_TOKEN_BYTES = 4
_DRAIN_LIMIT = 64  # messages read before other work on the loop gets its turn


class Server:
    """Reads requests, gives them to the engine, and sends what comes of them at the end of each loop turn.

    It is the engine's Sink. Engine request ids are this class's own, so that sessions cannot collide.
    One session is served at a time: whatever an earlier one left unfinished is given up, and the engine
    works on none of it any more, before the next is welcomed; else the next test would be measured beside it.

    Args:
        engine: Started before `serve`.
        socket: A bound ROUTER.
    """

    def __init__(self, engine: Engine, socket: zmq.Socket[bytes]) -> None:
        self._engine = engine
        self._socket = socket
        self._sessions: dict[str, Session] = {}
        self._names: set[str] = set()  # of all sessions there were; what comes from others is dropped
        self._gone: set[str] = set()  # those of them whose process has ended; their late messages are dropped
        self._owners: dict[int, tuple[Session, int]] = {}
        self._next_id = 0
        self._dirty: list[Session] = []
        self._flush_is_due = False
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._max_concurrent = 0
        self._first_tokens = self._answers = self._answer_bytes = 0
        self._prompt_bytes = self._longest_prompt = 0

    @property
    def in_flight(self) -> int:
        """Requests that the engine has not finished."""
        return len(self._owners)

    def heartbeat(self) -> Heartbeat:
        """How far the engine has come, over all sessions; from any thread."""
        tokens, now = self._answer_bytes // _TOKEN_BYTES, time.monotonic()
        vitals = self._engine.vitals() if self._max_concurrent else Vitals()
        return Heartbeat(
            self.in_flight,
            self._first_tokens,
            self._answers,
            tokens,
            self._engine.generated() if self._max_concurrent else None,
            self._next_id,
            self._prompt_bytes // _TOKEN_BYTES,
            self._longest_prompt // _TOKEN_BYTES,
            vitals.kv_cache,
            dict(vitals.metrics),
            [(it.number, now - it.ended_s, it.seconds) for it in vitals.pauses],
        )

    def serve(self, max_concurrent: int) -> None:
        """Begin to read; call it on the running loop.

        Args:
            max_concurrent: Requests that the engine works on at once.
        """
        self._max_concurrent = max_concurrent
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(int(self._socket.getsockopt(zmq.FD)), self._drain)
        self._loop.call_soon(self._drain)

    def tick(self) -> None:
        """Say to every session how far it was read; then read, for sending may have swallowed an edge."""
        for session in self._sessions.values():
            self._send(session)
        self._drain()

    # ------------------------------------------------------------------ engine -> sessions (Sink)

    def first_token(self, request_id: int, token: int) -> None:
        """The engine has a first token."""
        session, ordinal = self._owners[request_id]
        self._first_tokens += 1
        session.add_first_token(ordinal, token)
        self._touch(session)

    def finished(self, request_id: int, tokens: bytes) -> None:
        """The engine has a whole answer."""
        session, ordinal = self._owners.pop(request_id)
        self._answers += 1
        self._answer_bytes += len(tokens)
        session.add_answer(ordinal, tokens)
        self._touch(session)

    def failed(self, request_id: int, reason: str) -> None:
        """The engine has no answer and never will."""
        session, ordinal = self._owners.pop(request_id)
        session.add_failure(ordinal, reason)
        self._touch(session)

    def _touch(self, session: Session) -> None:
        if not session.is_dirty:
            session.begin_message()
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

    # ------------------------------------------------------------------ sessions -> engine

    def _drain(self) -> None:
        for _ in range(_DRAIN_LIMIT):
            try:
                peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._handle(peer, b"".join(frames))
        self._loop.call_soon(self._drain)

    def _handle(self, peer: bytes, frame: bytes) -> None:
        name = peer.decode(errors="replace").rpartition("/")[0]
        try:
            message = decode_data(frame)
        except ProtocolError:
            if name not in self._names:
                return
            raise
        if name not in self._names and not isinstance(message, Open):
            return
        match message:
            case Submit() if name in self._sessions:
                session = self._sessions[name]
                session.count_submit(message.seq)
                self._engine.submit([self._own(session, request) for request in message.requests])
            case Submit() if name in self._gone:
                pass
            case Open():
                self._names.add(name)
                if name.startswith(RELEASE):
                    self._gone.update(self._sessions)
                self._start(self._begin(name, peer, message.session))
            case Close():  # a session that a later Open has ended is no more: its Close may come late
                if (ended := self._sessions.pop(name, None)) is not None:
                    ended.is_closed = True
                    self._start(self._end())
            case _:
                raise ProtocolError(f"unexpected {type(message).__name__} from {name!r}")

    def _own(self, session: Session, request: Request) -> Request:
        self._next_id += 1
        size = len(request.prompt)
        self._prompt_bytes += size
        if size > self._longest_prompt:
            self._longest_prompt = size
        self._owners[self._next_id] = (session, request.id)
        return type(request)(
            self._next_id, request.prompt, request.min_tokens, request.max_tokens, request.wants_first_token
        )

    # ------------------------------------------------------------------ from one session to the next

    async def _begin(self, name: str, peer: bytes, session: str) -> None:
        async with self._turn:
            for earlier in self._sessions.values():
                earlier.is_closed = True
            self._sessions.clear()
            await self._give_up()
            self._sessions[name] = Session(name, hear=peer)
            welcome = Welcome(PROTOCOL_VERSION, session, self._max_concurrent)
            self._socket.send_multipart([peer, encode(welcome)])

    async def _end(self) -> None:
        async with self._turn:
            await self._give_up()

    async def _give_up(self) -> None:
        """Abort what closed sessions left, and wait until the engine is done with it."""
        unfinished = [number for number, (session, _) in self._owners.items() if session.is_closed]
        if not unfinished:
            return
        _log.info("a session ended with %d unfinished requests: aborting them", len(unfinished))
        for number in unfinished:
            del self._owners[number]
        await self._engine.abort(unfinished)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()  # an error goes to the loop's handler, which ends the replica
