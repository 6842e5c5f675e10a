"""Frees replicas from a session whose loadgen process is gone, before anybody else is measured on them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import zmq

from harness_llm.errors import ReplicaLost
from harness_llm.transport.keys import Keys, secure_client
from harness_llm.transport.listening import ListeningClock
from harness_llm.transport.wire import PROTOCOL_VERSION, RELEASE, Close, Open, encode

_PATIENCE_S = 70.0  # an engine must first let go of what it works on
_LINGER_MS = 1000


def release(
    context: zmq.Context[zmq.Socket[bytes]],
    endpoints: Sequence[str],
    turn: Callable[[], None],
    keys: Keys | None = None,
) -> None:
    """Open a session with each replica, which ends the one before it, and close it.

    A replica welcomes a session only when its engine works on nothing of an earlier one any more.

    Args:
        context: ZeroMQ context.
        endpoints: The replicas' data endpoints.
        turn: Called while it waits; takes its time, as a poll does, and watches the children.
        keys: What it shows the replicas; None on Unix sockets.

    Raises:
        ReplicaLost: One did not answer.
    """
    session = f"{RELEASE}{uuid.uuid4().hex}"
    sockets = []
    for endpoint in endpoints:
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.IDENTITY, f"{session}/hear".encode())
        socket.setsockopt(zmq.LINGER, 0)
        secure_client(socket, keys)
        socket.connect(endpoint)
        socket.send(encode(Open(PROTOCOL_VERSION, session)))
        sockets.append(socket)
    try:
        clock = ListeningClock()
        while not all(socket.poll(0) for socket in sockets):
            turn()
            if clock.look() > _PATIENCE_S:
                raise ReplicaLost(f"a replica did not let go of an abandoned test within {_PATIENCE_S:g} s")
        for socket in sockets:
            socket.setsockopt(zmq.LINGER, _LINGER_MS)
            socket.send(encode(Close()))
    finally:
        for socket in sockets:
            socket.close()
