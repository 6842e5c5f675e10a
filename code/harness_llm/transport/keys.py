"""Who may speak where anybody can connect: ZeroMQ's CURVE, with keys that are made for one command.

Two pairs: the server's, held by whoever listens, and the client's, held by every child. A server answers only
the client's key, a client speaks only to the server's; so a stranger gets no frame through, in either
direction, and reads none. Unix sockets need no keys: their folder is the user's alone.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import zmq

if TYPE_CHECKING:
    from collections.abc import Iterator

_Context = zmq.Context[zmq.Socket[bytes]]


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of one command, in the text form of ZeroMQ (Z85).

    Attributes:
        server_public: Known to every child.
        client_public: Known to every child.
        client_secret: Known to every child.
        server_secret: Empty for a child that does not listen.
    """

    server_public: str
    client_public: str
    client_secret: str
    server_secret: str = ""

    def for_client(self) -> Keys:
        """What a child gets that does not listen."""
        return msgspec.structs.replace(self, server_secret="")


def make_keys() -> Keys:
    """New keys."""
    (server, server_secret), (client, client_secret) = zmq.curve_keypair(), zmq.curve_keypair()
    return Keys(server.decode(), client.decode(), client_secret.decode(), server_secret.decode())


def secure_server(socket: zmq.Socket[bytes], keys: Keys | None) -> None:
    """Let a socket answer only who has the client's key; before it is bound. Nothing without keys."""
    if keys is not None:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.server_secret.encode())


def secure_client(socket: zmq.Socket[bytes], keys: Keys | None) -> None:
    """Let a socket speak only to who has the server's key; before it connects. Nothing without keys."""
    if keys is not None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server_public.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.client_public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.client_secret.encode())


class _OnlyClient:
    """Admits one public key."""

    def __init__(self, keys: Keys) -> None:
        self._key = keys.client_public.encode()

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether it may connect."""
        del domain
        return key == self._key


@contextmanager
def admitting(context: _Context, keys: Keys | None) -> Iterator[None]:
    """Judge who connects to a context's servers, on a thread of its own; nothing without keys."""
    if keys is None:
        yield
        return
    from zmq.auth.thread import ThreadAuthenticator  # asyncio, for those who listen alone

    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    try:
        authenticator.configure_curve_callback("*", credentials_provider=_OnlyClient(keys))
        yield
    finally:
        authenticator.stop()
