"""What is known of a child process, and what is left of one that the run did without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness_llm.errors import HarnessError, ProtocolError
from harness_llm.launch.launcher import Handle
from harness_llm.launch.role import Role
from harness_llm.transport.wire import (
    PROTOCOL_VERSION,
    Armed,
    ControlMessage,
    Done,
    Heartbeat,
    PartMeasured,
    Progress,
    Ready,
    ReplicaFailed,
    Sampled,
    Stage,
)


@dataclass(frozen=True)
class Loss:
    """A child that is gone and that the run did without.

    Attributes:
        name: The child's name.
        kind: Its role's.
        reason: What happened, with the end of its log.
    """

    name: str
    kind: str
    reason: str


@dataclass
class Child:
    """What is known of one living child.

    Attributes:
        handle: Its process.
        hear: Called with each Progress of it, and with each ReplicaFailed.
        heard_s: When it was last heard, by the listening clock; its start, before the first word.
        silence_s: As of its role, unless somebody has more patience with it or less.
        has_spoken: Whether any message came yet.
        stage: What it says that it does; empty before it says so.
        ready: Its Ready, once it came.
        heartbeat: Its last one.
        sampled: What it last sampled; None before that, and of a child that samples nothing.
        is_armed: Whether it waits for Go, or has had it.
        is_measured: Whether the measured part of its work is over.
        report: What it knows of its work, once it is done; its exit is no loss from then on.
        log_from: Where in its log, bytes, begins what may explain its end: its start, then its Ready.
        is_lost: Whether it was lost and the others go on without it.
        spare: Asked with its loss whether the others go on without it, before its role is.
    """

    handle: Handle
    hear: Callable[[Progress | ReplicaFailed], None] | None
    heard_s: float
    silence_s: float | None
    has_spoken: bool = False
    stage: str = ""
    ready: Ready | None = None
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    sampled: Sampled | None = None
    is_armed: bool = False
    is_measured: bool = False
    report: Mapping[str, Any] | None = None
    log_from: int = 0
    is_lost: bool = False
    spare: Callable[[HarnessError], bool] = lambda _: False

    @property
    def name(self) -> str:
        """Its name on the control plane."""
        return self.handle.name

    @property
    def role(self) -> Role:
        """What it is."""
        return self.handle.role

    @property
    def is_started(self) -> bool:
        """Whether it counts as started, by its role."""
        return {"ready": self.ready is not None, "word": self.has_spoken, "at once": True}[self.role.started]

    def take(self, message: ControlMessage) -> None:
        """Take in what it says.

        Raises:
            ProtocolError: It speaks another version.
        """
        match message:
            case Heartbeat():
                self.heartbeat = message
            case Stage():
                self.stage = message.text
            case Progress() | ReplicaFailed() if self.hear is not None:
                self.hear(message)
            case Sampled():
                self.sampled = message
            case Armed():
                self.is_armed = True
            case PartMeasured():
                self.is_measured = True
            case Done():
                self.report = message.report
            case Ready():
                if message.version != PROTOCOL_VERSION:
                    raise ProtocolError(
                        f"{self.name} speaks protocol {message.version}, not {PROTOCOL_VERSION}"
                    )
                self.ready = message
                self.log_from = self.handle.log_size()
