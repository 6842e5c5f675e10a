"""The child processes of a run: every word of theirs is heard, every death and silence is noticed."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import zmq

from harness_llm import errors
from harness_llm.errors import EngineError, HarnessError, LoadgenLost, ReplicaLost
from harness_llm.launch.local import end_all, start_child
from harness_llm.transport.control import ControlServer
from harness_llm.transport.wire import Done, Failed, Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from harness_llm.launch.local import Child
    from harness_llm.transport.wire import ControlMessage

__all__ = ["Children"]

_POLL_MS = 200
_FIRST_WORD_S = 60.0  # a child imports before it speaks
_GRACE_S = 5.0


class Children:
    """Starts, hears, watches and ends child processes; all are gone when the `with` block ends.

    Args:
        take: Called with a child's name and what it said.

    Attributes:
        silence_s: A child that has spoken and is silent for longer is lost, seconds.
    """

    def __init__(self, take: Callable[[str, ControlMessage], None]) -> None:
        self._take = take
        self._children: dict[str, Child] = {}
        self._control: ControlServer | None = None
        self._port: int | None = None
        self.silence_s = 0.0

    def __enter__(self) -> Self:
        self._sockets = Path(tempfile.mkdtemp(prefix="harness-llm-"))
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        return self

    def __exit__(self, *_: object) -> None:
        self.end_all()
        if self._control is not None:
            self._control.close()
        self._context.destroy(linger=0)
        shutil.rmtree(self._sockets, ignore_errors=True)

    @property
    def names(self) -> list[str]:
        """Names of the living children, in the order of their start."""
        return list(self._children)

    def in_flight(self) -> dict[str, int]:
        """Queries unfinished in each living child, by its last heartbeat."""
        return {name: child.in_flight for name, child in self._children.items()}

    def listen(self, port: int | None) -> str:
        """Where children reach the supervisor; the first call decides, for one endpoint serves a whole run.

        ZeroMQ lets a closed port go only after a while, so it is not opened anew for each group of replicas.

        Args:
            port: TCP port on 127.0.0.1; None uses a Unix socket.

        Raises:
            HostError: The port is in use.
        """
        if self._control is None:
            self._port = port
            self._control = ControlServer(self._context, self._endpoint("control", 0))
        return self._control.endpoint

    def data_endpoint(self, replica: int) -> str:
        """Where replica number `replica` is to listen for loadgen processes; `listen` comes first."""
        return self._endpoint(f"replica-{replica}", 1 + replica)

    def _endpoint(self, name: str, offset: int) -> str:
        if self._port is None:
            return f"ipc://{self._sockets}/{name}"
        return f"tcp://127.0.0.1:{self._port + offset}"

    def start(
        self, module: str, name: str, spec: Path, log: Path, environment: Mapping[str, str] | None = None
    ) -> Child:
        """Start `python -m module spec`; see `launcher.start_child`."""
        child = start_child(module, name, spec, log, environment or {})
        self._children[name] = child
        return child

    def turn(self) -> None:
        """Hear what came, then look whether everybody lives; takes up to 0.2 s.

        Raises:
            RunBroken: A child died, fell silent or gave up.
        """
        self._hear(_POLL_MS)
        for child in list(self._children.values()):
            self._check(child)

    def _hear(self, timeout_ms: int) -> None:
        if self._control is None:  # nothing was started: every test was complete before
            time.sleep(timeout_ms / 1000)
            return
        for name, message in self._control.receive(timeout_ms):
            child = self._children.get(name)
            if child is None:
                continue
            child.hear()
            if isinstance(message, Failed):
                raise _error_of(message, child)
            child.may_end = child.may_end or isinstance(message, Done)
            if isinstance(message, Heartbeat):
                child.in_flight = message.in_flight
            self._take(name, message)

    def _check(self, child: Child) -> None:
        if child.may_end:
            return
        lost = LoadgenLost if child.name.startswith("loadgen-") else ReplicaLost
        reason = child.exit_reason()
        if reason is not None:
            self._hear(0)  # its last words may have come meanwhile
            if child.may_end:
                return
            child.signal_group(signal.SIGKILL)  # what it started must not go on
            raise lost(f"{child.name} {reason}; log {child.log}{child.log_tail()}")
        silent = time.monotonic() - child.last_heard
        if silent > (self.silence_s if child.has_spoken else _FIRST_WORD_S):
            child.signal_group(signal.SIGKILL)  # it would not hear a request to stop
            raise lost(f"{child.name} has been silent for {silent:.1f} s; log {child.log}{child.log_tail()}")

    def end(self, child: Child) -> None:
        """End one child at once, and whatever it started."""
        end_all([child], 0)
        del self._children[child.name]

    def end_all(self, in_good_order: Collection[str] = ()) -> None:
        """End all children; those named are first told to stop, and given a while for it."""
        patient = [child for name, child in self._children.items() if name in in_good_order]
        if self._control is not None:
            for child in patient:
                self._control.shut_down(child.name)
        end_all([child for name, child in self._children.items() if name not in in_good_order], 0)
        end_all(patient, _GRACE_S)
        self._children.clear()


def _error_of(message: Failed, child: Child) -> HarnessError:
    kind = getattr(errors, message.kind, EngineError)
    return kind(f"{child.name}: {message.message}\n  log: {child.log}", message.remedy)
