"""The control plane's two ends: `ControlServer` in the supervisor, `ControlClient` in each child."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Self

import zmq

from harness_llm.errors import HarnessError, HostError, named
from harness_llm.transport.keys import secure_client, secure_server
from harness_llm.transport.leftovers import kill_group
from harness_llm.transport.wire import Failed, Finish, Go, ReplicaGone, Shutdown, decode_control, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from harness_llm.transport.keys import Keys
    from harness_llm.transport.wire import ControlMessage, Heartbeat, ToChild


PARENT_VARIABLE = "HARNESS_LLM_PARENT"
"""Environment variable with the process id of whoever started this child."""

HOST_VARIABLE = "HARNESS_LLM_HOST"
"""Environment variable with the address of the host that a child runs on, where that is another one."""

_REMEDIES = {
    errno.EADDRINUSE: "Another process holds it: end that one, or choose another harness_config.port.",
    errno.EADDRNOTAVAIL: "Name an interface of this host in harness_config.interface; see `ip address`.",
    errno.ENODEV: "Name an interface of this host in harness_config.interface; see `ip address`.",
    errno.ENAMETOOLONG: "Set TMPDIR to a folder with a shorter path: a socket's has room for 107 characters.",
    errno.EMFILE: "Too many files are open: raise the limit, e.g. `ulimit -n 4096`.",
    errno.ENOSPC: "Free space there, or set TMPDIR to another folder.",
}
_HEARTBEAT_S = 1.0
_PARENT_POLL_S = 0.5


def bind(socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Bind a socket and return the endpoint that peers connect to.

    Raises:
        HostError: The port or path is in use or not ours to use.
    """
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise HostError(
            f"cannot listen on {endpoint}: {error}", _REMEDIES.get(error.errno or 0, "")
        ) from error
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def bind_within(socket: zmq.Socket[bytes], listen: str) -> str:
    """Bind a socket to the first place that is free and return the endpoint that peers connect to.

    Args:
        socket: The socket.
        listen: `ipc:///folder`: a Unix socket of this process's own in that folder; `tcp://127.0.0.1:5001-5004`:
            one of these ports; or any other ZeroMQ endpoint, such as `tcp://127.0.0.1:*`. `$NAME` in it
            is that variable's value.

    Raises:
        HostError: Nothing is free; names the last place tried.
    """
    if listen.startswith("ipc://"):
        return bind(socket, f"{listen}/{os.getpid()}")
    listen = os.path.expandvars(listen)
    interface, _, ports = listen.rpartition(":")
    first, is_range, last = ports.partition("-")
    if not is_range:
        return bind(socket, listen)
    for port in range(int(first), int(last)):
        with contextlib.suppress(HostError):
            return bind(socket, f"{interface}:{port}")
    return bind(socket, f"{interface}:{last}")


def die_with_parent() -> None:
    """End this process's whole group as soon as the process that started it is gone, however it ended.

    A thread looks twice a second. Linux's PR_SET_PDEATHSIG would not do: it spares grandchildren, and an
    engine that outlives its replica keeps the device's memory. The parent's process id comes by environment,
    because a parent that died while this process was importing can no longer be asked for. A process that
    leads no group of its own was started by hand, and is left to the hand.
    """
    if os.getpgrp() != os.getpid():
        return
    parent = int(os.environ.get(PARENT_VARIABLE) or os.getppid())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL_S)
        kill_group(os.getpgrp())

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


class ControlServer:
    """The supervisor's end: receives what children say, by name, and can tell them to stop.

    Args:
        context: ZeroMQ context.
        endpoint: Where to listen, e.g. `ipc:///…/control` or `tcp://127.0.0.1:*`.
        keys: Who is answered; None for everybody who can connect.

    Raises:
        HostError: The endpoint cannot be bound.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, keys: Keys | None = None
    ) -> None:
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        secure_server(self._socket, keys)
        try:
            self.endpoint = bind(self._socket, endpoint)
        except HostError:
            self._socket.close()
            raise

    def receive(self, timeout_ms: int, known: Container[str]) -> Iterator[tuple[str, ControlMessage]]:
        """Wait up to `timeout_ms` for a message, then yield (child name, message) until none is left.

        What comes from anybody but the `known` is dropped and not decoded.

        Raises:
            ProtocolError: A known child sent what is no message.
        """
        if not self._socket.poll(timeout_ms):
            return
        while True:
            try:
                peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if (name := peer.decode(errors="replace")) in known:
                yield name, decode_control(b"".join(frames))

    def tell(self, name: str, message: ToChild) -> None:
        """Tell a child something; one that is gone or has not spoken yet does not hear, which is no error."""
        self._socket.send_multipart([name.encode(), encode(message)])

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


class ControlClient:
    """A child's end; says that the child is alive once a second, from a thread of its own.

    A child whose Python code is stuck in a C call without the GIL released goes silent, which is meant.

    Args:
        context: ZeroMQ context.
        endpoint: The supervisor's endpoint.
        name: This child's name, e.g. `replica-0`.
        heartbeat: Called once a second, on a thread of its own, for what to send.
        on_shutdown: Called, from that thread, when the supervisor says stop.
        on_replica_gone: Called, from that thread, when the supervisor says that a replica has ended.
        keys: What it shows the supervisor; None on a Unix socket.
        on_gate: Called, from that thread, with Go and with Finish.
        read_s: How often it looks for what the supervisor says, seconds.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        name: str,
        heartbeat: Callable[[], Heartbeat],
        on_shutdown: Callable[[], object],
        on_replica_gone: Callable[[ReplicaGone], object] = lambda _: None,
        keys: Keys | None = None,
        on_gate: Callable[[Go | Finish], object] = lambda _: None,
        read_s: float = _HEARTBEAT_S,
    ) -> None:
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, name.encode())
        self._socket.setsockopt(zmq.LINGER, 2000)
        secure_client(self._socket, keys)
        self._socket.connect(endpoint)
        self._lock = threading.Lock()
        self._heartbeat = heartbeat
        self._on_shutdown = on_shutdown
        self._on_replica_gone = on_replica_gone
        self._on_gate = on_gate
        self._read_s = read_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(timeout=5)
        with self._lock:
            self._socket.close()

    def send(self, message: ControlMessage) -> None:
        """Send from any thread."""
        with self._lock:
            if not self._socket.closed:
                self._socket.send(encode(message))

    def fail(self, error: BaseException) -> None:
        """Report an error that ends this child."""
        if isinstance(error, HarnessError):
            self.send(Failed(type(error).__name__, error.message, error.remedy))
        else:
            self.send(Failed("RunBroken", named(error), ""))

    def _beat(self) -> None:
        beat_s = time.monotonic()
        while not self._stopped.wait(self._read_s):
            if time.monotonic() - beat_s >= _HEARTBEAT_S - self._read_s / 2:
                beat_s = time.monotonic()
                self.send(self._heartbeat())
            self._read()

    def _read(self) -> None:
        while True:
            with self._lock:
                if self._socket.closed:
                    return
                try:
                    frame = self._socket.recv(zmq.NOBLOCK)
                except zmq.Again:
                    return
            match decode_control(frame):
                case Shutdown():
                    self._on_shutdown()
                case ReplicaGone() as gone:
                    self._on_replica_gone(gone)
                case Go() | Finish() as message:
                    self._on_gate(message)
