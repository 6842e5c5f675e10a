"""Child processes of one command: each is heard, watched and ended as its role says."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import zmq

from harness_llm import ending, errors
from harness_llm.engines.base import SOCKETS_VARIABLE
from harness_llm.errors import EngineError, HarnessError
from harness_llm.launch.cause import MemoryKills, explained
from harness_llm.launch.child import Child, Loss
from harness_llm.launch.launcher import Launcher, end_all
from harness_llm.launch.local import LocalLauncher
from harness_llm.launch.role import Role
from harness_llm.transport.control import ControlServer
from harness_llm.transport.keys import admitting, make_keys
from harness_llm.transport.leftovers import note_segments, socket_folder
from harness_llm.transport.listening import ListeningClock
from harness_llm.transport.wire import Failed, Progress, ReplicaFailed, Shutdown, ToChild

_POLL_MS = 200
_LAST_WORDS_S, _LAST_WORDS_MS = 0.5, 50


class Children:
    """Starts, hears, watches and ends child processes; all are gone when the `with` block ends.

    Args:
        interface: Address or name of the network interface to listen on, with keys made for this command;
            None uses Unix sockets.
        port: First TCP port there, for the control plane; children listen above it. None takes free ones.
        launcher: Starts them; None for this host's.

    Attributes:
        launcher: Starts them.
        clock: The clock by which silence is judged.
        losses: Children that are gone and that the run did without.
        keys: What children show one another; None on Unix sockets.
    """

    def __init__(
        self, interface: str | None = None, port: int | None = None, launcher: Launcher | None = None
    ) -> None:
        self.launcher: Launcher = LocalLauncher() if launcher is None else launcher
        self.clock = ListeningClock()
        self.losses: list[Loss] = []
        self.keys = None if interface is None else make_keys()
        self._interface = interface
        self._port = port
        self._children: dict[str, Child] = {}
        self._names: set[str] = set()
        self._control: ControlServer | None = None
        self._kills = MemoryKills()

    def __enter__(self) -> Self:
        self._held = ExitStack()
        self._sockets = self._held.enter_context(socket_folder())
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._held.callback(self.context.destroy, linger=0)
        self._held.enter_context(admitting(self.context, self.keys))
        return self

    def __exit__(self, *_: object) -> None:
        self.end(*self._children.values())
        if self._control is not None:
            self._control.close()
        self._held.close()

    def __iter__(self) -> Iterator[Child]:
        """The living children, in the order of their start."""
        return iter(list(self._children.values()))

    @property
    def control(self) -> str:
        """Where children reach this process; it listens from the first question on, for a whole command.

        Raises:
            HostError: The port is in use.
        """
        if self._control is None:
            endpoint = f"ipc://{self._sockets}/control"
            if self._interface is not None:
                endpoint = f"tcp://{self._interface}:{self._port or '*'}"
            self._control = ControlServer(self.context, endpoint, self.keys)
        return self._control.endpoint

    def place_to_listen(self, more: int) -> str:
        """Where a child may listen, as `bind_within` takes it.

        Args:
            more: How many children that listen will be started beside those that live.
        """
        if self._interface is None:
            return f"ipc://{self._sockets}"
        interface = self.launcher.listens_at or self._interface
        if self._port is None:
            return f"tcp://{interface}:*"
        listening = sum(child.ready is not None and bool(child.ready.endpoint) for child in self)
        return f"tcp://{interface}:{self._port + 1}-{self._port + listening + more}"

    def free_name(self, wanted: str) -> str:
        """`wanted`, or with a number behind it where a child of this command has or had that name.

        Last words of a child that is gone must not be taken for another's.
        """
        name, number = wanted, 1
        while name in self._names:
            number += 1
            name = f"{wanted} ({number})"
        self._names.add(name)
        return name

    def start(
        self,
        role: Role,
        name: str,
        spec: Path,
        log: Path,
        environment: Mapping[str, str] | None = None,
        hear: Callable[[Progress | ReplicaFailed], None] | None = None,
    ) -> Child:
        """Start a child.

        Args:
            role: What it is.
            name: Its name on the control plane, from `free_name`.
            spec: Its spec file.
            log: Where stdout and stderr go; appended.
            environment: Variables added to this process's own.
            hear: Called with each Progress of it, and with each ReplicaFailed.
        """
        self._names.add(name)
        log_from = log.stat().st_size if log.exists() else 0
        added = {SOCKETS_VARIABLE: str(self._sockets), **(environment or {})}
        handle = self.launcher.start(role, name, spec, log, added)
        child = Child(handle, hear, self.clock.look(), role.silence_s, log_from=log_from)
        self._children[name] = child
        return child

    def tell(self, child: Child, message: ToChild) -> None:
        """Tell a child that has spoken something."""
        assert child.has_spoken and self._control is not None
        self._control.tell(child.name, message)

    def turn(self) -> None:
        """Hear what came, then look whether everybody lives; takes up to 0.2 s.

        Raises:
            RunBroken: An essential child died, fell silent or gave up.
        """
        ending.check()
        self._hear(_POLL_MS)
        self.clock.look()
        for child in self:
            self._check(child)

    def _hear(self, timeout_ms: int) -> None:
        if self._control is None:  # nobody was started who could speak
            time.sleep(timeout_ms / 1000)
            return
        for name, message in self._control.receive(timeout_ms, self._children):
            child = self._children[name]
            child.heard_s, child.has_spoken = self.clock.look(), True
            if not child.is_started and not child.handle.host:
                note_segments(self._sockets, child.handle.process_id)
            if isinstance(message, Failed):
                self._lose(child, _error_of(message, child))
            else:
                child.take(message)

    def _check(self, child: Child) -> None:
        if not self._is_needed(child):
            return
        reason = child.handle.exit_reason()
        if reason is not None:
            self._hear_last_words(child)
        elif (silent := self._silent_too_long_s(child)) is not None:
            reason = f"has been silent for {silent:.1f} s"
        if reason is not None and self._is_needed(child):
            self.give_up(child, reason)

    def _hear_last_words(self, child: Child) -> None:
        """Hear what a process said before it ended by itself; a pause of our own may have held it up."""
        deadline = time.monotonic() + _LAST_WORDS_S
        self._hear(0)
        while self._is_needed(child) and time.monotonic() < deadline:
            self._hear(_LAST_WORDS_MS)

    def give_up(self, child: Child, reason: str, remedy: str = "") -> None:
        """End a child that is of no use any more, whether it lives or not.

        Args:
            child: The child.
            reason: What is wrong with it, as the predicate of a sentence of which it is the subject.
            remedy: What the user can do; empty where the cause says it.

        Raises:
            RunBroken: It is essential.
        """
        child.handle.signal(signal.SIGKILL)  # it may hear no request to stop; what it started must end, too
        self._lose(child, child.role.lost(f"{child.name} {reason}", remedy))

    def _is_needed(self, child: Child) -> bool:
        return child.report is None and child.name in self._children

    def _silent_too_long_s(self, child: Child) -> float | None:
        limit = child.silence_s if child.has_spoken else child.role.first_word_s
        silent = self.clock.now_s - child.heard_s
        return silent if limit is not None and silent > limit else None

    def _lose(self, child: Child, error: HarnessError) -> None:
        """What the loss of a child means.

        Raises:
            HarnessError: The end of the run.
        """
        error = explained(error, child, self._kills)
        if child.role.essential and not child.spare(error):
            raise error
        child.is_lost = True
        self.end(child)
        self.losses.append(Loss(child.name, child.role.kind, error.message))

    def end(self, *children: Child) -> None:
        """End children, and whatever they started, as their roles say; they are gone when it returns."""
        patient = [child for child in children if child.is_started and child.role.ends_by != "kill"]
        for child in patient:
            if child.role.ends_by == "shutdown" and child.has_spoken and self._control is not None:
                self._control.tell(child.name, Shutdown())
            else:
                child.handle.signal(signal.SIGTERM)
        end_all([child.handle for child in children if child not in patient], 0)
        end_all(
            [child.handle for child in patient], max((child.role.grace_s for child in patient), default=0)
        )
        for child in children:
            self._children.pop(child.name, None)


def _error_of(message: Failed, child: Child) -> HarnessError:
    kind = getattr(errors, message.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, HarnessError)):
        kind = EngineError
    return kind(f"{child.name}: {message.message}", message.remedy)
