"""The loadgen process's sockets: to each replica one to ask on and one to hear from.

A ZeroMQ socket belongs to one thread at a time. Asking is done by whichever thread holds the SUT's lock,
hearing by the receiver thread, so each has its own socket and neither waits for the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import zmq

from harness_llm.errors import ProtocolError, ReplicaLost
from harness_llm.transport.keys import secure_client
from harness_llm.transport.listening import ListeningClock
from harness_llm.transport.numbering import MessageCounter
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
    from collections.abc import Callable, Iterator

    from harness_llm.core import Request
    from harness_llm.transport.keys import Keys


WELCOME_TIMEOUT_S = 70.0
"""How long to wait for a replica to welcome a session; it may have to wait for its engine to let go of an
earlier one first."""

_HEARD_LIMIT = 64  # messages
_POLL_MS = 200
_SUPERVISOR_FIRST_S = 1.5  # a process that is dead or stopped is the supervisor's to name


class ReplicaLink:
    """One session with one replica.

    Args:
        context: ZeroMQ context.
        index: The replica's number.
        endpoint: The replica's data endpoint.
        session: Name of this session, unique among the replica's sessions.
        silence_s: A process silent for this long is lost, seconds; a replica sends Events every second, if
            only empty ones.
        keys: What it shows the replica; None on Unix sockets.
        welcome_timeout_s: How long `open` waits for the replica's answer, seconds.
        clock: Tells how long somebody has listened, seconds: who was held up himself takes nobody for silent.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        index: int,
        endpoint: str,
        session: str,
        silence_s: float,
        *,
        keys: Keys | None = None,
        welcome_timeout_s: float = WELCOME_TIMEOUT_S,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.index = index
        self.name = f"replica {index}"
        self._session = session
        self._ask = self._connect(context, endpoint, f"{session}/ask", keys)
        self.hear = self._connect(context, endpoint, f"{session}/hear", keys)
        self._heard = MessageCounter(self.name)
        self._asked = 0
        self._clock = clock = clock or ListeningClock().look
        self._last_progress = (0, clock())
        self._last_heard = clock()
        self._patience_s = silence_s + _SUPERVISOR_FIRST_S
        self._welcome_timeout_s = welcome_timeout_s
        self.max_concurrent = 0

    @staticmethod
    def _connect(
        context: zmq.Context[zmq.Socket[bytes]], endpoint: str, identity: str, keys: Keys | None
    ) -> zmq.Socket[bytes]:
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.IDENTITY, identity.encode())
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        secure_client(socket, keys)
        socket.connect(endpoint)
        return socket

    def open(self, is_gone: Callable[[], bool] = lambda: False) -> None:
        """Begin the session and learn how much the engine works on at once.

        Args:
            is_gone: Asked again and again whether the replica is known to be gone; then it returns.

        Raises:
            ReplicaLost: No answer.
            ProtocolError: The replica speaks another version.
        """
        self.hear.send(encode(Open(PROTOCOL_VERSION, self._session)))
        began = self._clock()
        while not self.hear.poll(_POLL_MS):
            if is_gone():
                return
            if self._clock() - began <= self._welcome_timeout_s:
                continue
            raise ReplicaLost(
                f"{self.name}: no answer on the data plane within {self._welcome_timeout_s:.0f} s"
            )
        message = decode_data(self.hear.recv())
        if not isinstance(message, Welcome) or message.session != self._session:
            raise ProtocolError(f"{self.name}: expected Welcome, got {type(message).__name__}")
        if message.version != PROTOCOL_VERSION:
            raise ProtocolError(
                f"{self.name}: speaks protocol {message.version}, but this process speaks {PROTOCOL_VERSION}",
                "Install the same version of harness-llm on every host.",
            )
        self.max_concurrent = message.max_concurrent
        self._last_heard = self._clock()

    def ask(self, requests: list[Request]) -> None:
        """Send requests; the caller holds the SUT's lock."""
        self._ask.send(encode(Submit(self._asked, requests)))
        self._asked += 1

    def heard(self) -> Iterator[Events]:
        """What has arrived, up to so much that other replicas get their turn; on the receiver thread only.

        Raises:
            ProtocolError: A message was lost or doubled, in either direction.
        """
        for _ in range(_HEARD_LIMIT):
            try:
                frame = self.hear.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            message = decode_data(frame)
            if not isinstance(message, Events):
                raise ProtocolError(f"{self.name}: expected Events, got {type(message).__name__}")
            self._heard.accept(message.seq)
            self._last_heard = self._clock()
            self._check_read(message.read)
            yield message

    def check_alive(self) -> None:
        """Refuse a replica whose event loop is stuck, which its heartbeats, from a thread, do not show.

        Call it after `heard`.

        Raises:
            ReplicaLost: Nothing came for long.
        """
        silent = self._clock() - self._last_heard
        if silent > self._patience_s:
            raise ReplicaLost(
                f"{self.name}: is alive, but has sent nothing for {silent:.1f} s: its event loop is stuck",
                "Check the replica's log, or raise harness_config.silence_timeout_s.",
            )

    def _check_read(self, read: int) -> None:
        """Refuse a replica that has not read for long what was sent: the end of a stream can be lost too."""
        count, since = self._last_progress
        now = self._clock()
        if read != count or read >= self._asked:
            self._last_progress = (read, now)
        elif now - since > self._patience_s:
            raise ProtocolError(
                f"{self.name}: has read {read} of {self._asked} messages, and none for {now - since:.0f} s"
            )

    def close(self) -> None:
        """End the session."""
        self._ask.setsockopt(zmq.LINGER, 1000)
        self._ask.send(encode(Close()))
        self._ask.close()
        self.hear.close()
