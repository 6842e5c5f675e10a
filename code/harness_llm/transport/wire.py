"""The messages between processes: few, typed, versioned, msgpack.

Two planes. On the *control* plane every child talks to the supervisor (a star). On the *data* plane a
loadgen process talks to each replica; both directions of a session are numbered without gaps, and
`Events` also says how far the other side was read, so that no message is lost or doubled in silence.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness_llm.core import Request  # noqa: TC001 - msgspec reads the annotations at run time
from harness_llm.errors import ProtocolError

PROTOCOL_VERSION = 4


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    pass


# ------------------------------------------------------------------ data plane: loadgen -> replica

RELEASE = "release-"
"""Prefix of the names of sessions that end the one before them, whose process is gone."""


class Open(_Message, frozen=True):
    """Begin a session; the replica forgets any earlier session of this peer."""

    version: int
    session: str


class Submit(_Message, frozen=True):
    """Requests to answer; `seq` counts the Submits of a session from 0."""

    seq: int
    requests: list[Request]


class Close(_Message, frozen=True):
    """End the session; nothing more will be asked."""


# ------------------------------------------------------------------ data plane: replica -> loadgen


class Welcome(_Message, frozen=True):
    """Answer to Open.

    `max_concurrent` is how many requests the engine works on at once.
    """

    version: int
    session: str
    max_concurrent: int


class Events(_Message, frozen=True):
    """What happened in the engine since the last Events; also sent empty, once a second.

    Attributes:
        seq: Counts the Events of a session from 0.
        read: Submits read so far in this session.
        first_ids: Requests whose first token exists now.
        first_tokens: That token, one for each of `first_ids`.
        finished_ids: Requests that are complete now.
        finished_tokens: All output tokens, packed int32, one for each of `finished_ids`.
        failures: (request id, reason) of requests that cannot be answered.
        batch_ns: When the replica took over the first of these from its engine, on the replica's monotonic
            clock; 0 where nothing happened.
    """

    seq: int
    read: int
    first_ids: list[int]
    first_tokens: list[int]
    finished_ids: list[int]
    finished_tokens: list[bytes]
    failures: list[tuple[int, str]]
    batch_ns: int = 0

    def __post_init__(self) -> None:
        first, finished = self.first_ids, self.finished_ids
        if len(first) != len(self.first_tokens) or len(finished) != len(self.finished_tokens):
            raise ValueError("Events: each id needs its tokens")


DataMessage = Open | Submit | Close | Welcome | Events


# ------------------------------------------------------------------ control plane: child -> supervisor


class Stage(_Message, frozen=True):
    """What a child does now, for people: `loading the model`."""

    text: str


class Ready(_Message, frozen=True):
    """A child can be used.

    Attributes:
        version: The protocol that it speaks.
        endpoint: Where it listens; empty where nobody connects to it.
        facts: What it says of itself, JSON-able; of a replica, its EngineFacts.
    """

    version: int
    endpoint: str
    facts: dict[str, Any]


class Heartbeat(_Message, frozen=True):
    """A child is alive, and how far it has come since it started.

    Attributes:
        in_flight: Requests or queries that are unfinished in it now.
        first_tokens: First tokens that its engine has reported so far.
        answers: Answers that its engine has completed so far.
        tokens: Output tokens of those answers.
        generated: What `Engine.generated` says: it grows with every step that gave a token; None where it
            cannot say.
        requests: Requests that it has taken so far.
        prompt_tokens: Tokens of their prompts.
        longest_prompt: The longest of these prompts, tokens.
        kv_cache: Share of its KV cache in use, 0..1; None where it does not say.
        metrics: The engine's own metrics, by its own names.
        pauses: Its last pauses: number from 0, seconds since its end, and how long it took, seconds.
    """

    in_flight: int = 0
    first_tokens: int = 0
    answers: int = 0
    tokens: int = 0
    generated: int | None = None
    requests: int = 0
    prompt_tokens: int = 0
    longest_prompt: int = 0
    kv_cache: float | None = None
    metrics: dict[str, float] = {}
    pauses: list[tuple[int, float, float]] = []


class Progress(_Message, frozen=True):
    """How a test goes; counts are totals, latencies are those since the last Progress.

    Attributes:
        issued: Samples that LoadGen has asked for.
        done: Samples complete.
        tokens: Output tokens complete.
        ttft: float32 seconds from issue to first token, packed.
        tpot: float32 seconds for each further token, packed.
        lost: Why the test cannot be VALID any more; empty while it can.
    """

    issued: int
    done: int
    tokens: int
    ttft: bytes
    tpot: bytes
    lost: str = ""


class Sampled(_Message, frozen=True):
    """What a sampler read in the last second; each device as `DeviceState` of results/live_records.py."""

    devices: list[dict[str, Any]]


class ReplicaFailed(_Message, frozen=True):
    """A loadgen process goes on without a replica, which must be ended; `kind` as in `Failed`."""

    replica: int
    kind: str
    message: str
    remedy: str


class Failed(_Message, frozen=True):
    """A child gives up; `kind` is the name of an error class in errors.py."""

    kind: str
    message: str
    remedy: str


class Done(_Message, frozen=True):
    """A child's work ended by itself, and it will exit; `report` is what it knows of that work, JSON-able."""

    report: dict[str, Any]


class Armed(_Message, frozen=True):
    """A child of a study has all that it needs: its work begins within a millisecond of Go."""


class PartMeasured(_Message, frozen=True):
    """The measured part of a child's work is over; it keeps working, unmeasured, until Finish."""


# ------------------------------------------------------------------ control plane: supervisor -> child


class Shutdown(_Message, frozen=True):
    """Stop in good order, now."""


class ReplicaGone(_Message, frozen=True):
    """A replica has ended: its unfinished samples go to the others; `reason` is for people."""

    replica: int
    reason: str


class Go(_Message, frozen=True):
    """Begin at one moment with all others, nanoseconds of the monotonic clock; 0 is at once."""

    at_ns: int


class Finish(_Message, frozen=True):
    """Begin nothing more, end what is begun, and say Done."""


ToChild = Shutdown | ReplicaGone | Go | Finish
"""What a supervisor says."""

ControlMessage = (
    Stage
    | Ready
    | Heartbeat
    | Progress
    | Sampled
    | ReplicaFailed
    | Failed
    | Done
    | Armed
    | PartMeasured
    | ToChild
)

_NO_MESSAGE = (msgspec.DecodeError, UnicodeDecodeError)  # the latter where a tag is no UTF-8

_encoder = msgspec.msgpack.Encoder()
_data_decoder: msgspec.msgpack.Decoder[DataMessage] = msgspec.msgpack.Decoder(DataMessage)
_control_decoder: msgspec.msgpack.Decoder[ControlMessage] = msgspec.msgpack.Decoder(ControlMessage)


def encode(message: DataMessage | ControlMessage) -> bytes:
    """One message as one ZeroMQ frame."""
    return _encoder.encode(message)


def decode_data(frame: bytes) -> DataMessage:
    """Read a frame of the data plane.

    Raises:
        ProtocolError: The frame is no such message.
    """
    try:
        return _data_decoder.decode(frame)
    except _NO_MESSAGE as error:
        raise ProtocolError(f"malformed message on the data plane: {error}") from error


def decode_control(frame: bytes) -> ControlMessage:
    """Read a frame of the control plane.

    Raises:
        ProtocolError: The frame is no such message.
    """
    try:
        return _control_decoder.decode(frame)
    except _NO_MESSAGE as error:
        raise ProtocolError(f"malformed message on the control plane: {error}") from error
