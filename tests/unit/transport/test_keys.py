"""Over TCP only who has the keys of the run is heard, and hears."""

from __future__ import annotations

import time

import pytest
import zmq

from harness_llm.transport.control import ControlClient, ControlServer
from harness_llm.transport.keys import Keys, admitting, make_keys, secure_client, secure_server
from harness_llm.transport.wire import Heartbeat, Stage, encode

_PLACE = "tcp://127.0.0.1:*"


@pytest.fixture
def keys() -> Keys:
    return make_keys()


def _stranger(endpoint: str, shown: Keys | None) -> None:
    """Says as `replica-0` that it is there."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.IDENTITY, b"replica-0")
        socket.setsockopt(zmq.LINGER, 0)
        secure_client(socket, shown)
        socket.connect(endpoint)
        socket.send(encode(Stage("forged")))
        time.sleep(0.5)


def _heard(server: ControlServer) -> list[tuple[str, object]]:
    heard: list[tuple[str, object]] = []
    deadline = time.monotonic() + 20
    while not heard and time.monotonic() < deadline:
        heard += server.receive(100, {"replica-0"})
    return heard


def test_only_the_key_of_the_run_is_heard(context: zmq.Context[zmq.Socket[bytes]], keys: Keys) -> None:
    with admitting(context, keys):
        server = ControlServer(context, _PLACE, keys)
        own = make_keys()
        knows_the_server = Keys(keys.server_public, own.client_public, own.client_secret)
        for shown in (None, own, knows_the_server):
            _stranger(server.endpoint, shown)
        assert list(server.receive(100, {"replica-0"})) == []
        with ControlClient(
            context, server.endpoint, "replica-0", Heartbeat, lambda: None, keys=keys.for_client()
        ) as client:
            client.send(Stage("loading"))
            assert _heard(server) == [("replica-0", Stage("loading"))]
        server.close()


def test_a_child_tells_nothing_to_who_has_not_the_server_s_key(
    context: zmq.Context[zmq.Socket[bytes]], keys: Keys
) -> None:
    forged = make_keys()
    with context.socket(zmq.ROUTER) as rogue:
        secure_server(rogue, forged)
        rogue.bind(_PLACE)
        endpoint = rogue.getsockopt_string(zmq.LAST_ENDPOINT)
        with zmq.Context() as other, other.socket(zmq.DEALER) as child:
            child.setsockopt(zmq.LINGER, 0)
            secure_client(child, keys.for_client())
            child.connect(endpoint)
            child.send(b"a secret")
            assert not rogue.poll(500)


def test_a_child_that_does_not_listen_cannot(keys: Keys) -> None:
    assert keys.server_secret and not keys.for_client().server_secret
    assert make_keys() != keys


def test_frames_of_strangers_are_dropped_before_they_are_decoded(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    server = ControlServer(context, _PLACE)
    sockets = []
    for identity in (b"", b"\xff\xfe", b"stranger"):
        socket = context.socket(zmq.DEALER)
        if identity:
            socket.setsockopt(zmq.IDENTITY, identity)
        socket.connect(server.endpoint)
        socket.send(b"no message")
        socket.send_multipart([b"two", b"parts"])
        sockets.append(socket)
    with ControlClient(context, server.endpoint, "replica-0", Heartbeat, lambda: None) as client:
        client.send(Stage("loading"))
        assert _heard(server) == [("replica-0", Stage("loading"))]
    for socket in sockets:
        socket.close()
    server.close()
