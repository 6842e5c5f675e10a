"""Stand-ins for tests, one at each seam: engine, sink, SUT and replica, LoadGen, launcher, viewer.

Each keeps what it was told, in public attributes, and refuses what the real one would refuse. They are part
of the package so that whoever adds an engine, a view or a router tests it as the package's own tests do.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from signal import Signals
from typing import Any

import msgspec
import zmq

from harness_llm.core import Request
from harness_llm.engines.base import EngineFacts, Sink
from harness_llm.engines.vitals import Vitals
from harness_llm.launch.launcher import Effort
from harness_llm.launch.role import Role
from harness_llm.results.live_records import LiveRecord
from harness_llm.transport.wire import ControlMessage, Events, encode

_FIRST_LOADGEN_ID = 2**40  # LoadGen's ids are no ordinals; whoever mixes them up fails


class RecordingSink:
    """An engine's Sink that keeps what the engine reports, in order.

    Attributes:
        said: `("first", id, token)`, `("finished", id, [token, …])` and `("failed", id, reason)`.
        at_s: When each of them was said, seconds since the sink was made.
    """

    def __init__(self) -> None:
        self.said: list[tuple[str, int, Any]] = []
        self.at_s: list[float] = []
        self._began = time.monotonic()

    def first_token(self, request_id: int, token: int) -> None:
        """The first token of a request exists."""
        self._say("first", request_id, token)

    def finished(self, request_id: int, tokens: bytes) -> None:
        """A request is complete."""
        self._say("finished", request_id, [token for (token,) in struct.iter_unpack("<i", tokens)])

    def failed(self, request_id: int, reason: str) -> None:
        """A request cannot be answered."""
        self._say("failed", request_id, reason)

    def _say(self, what: str, request_id: int, value: object) -> None:
        self.said.append((what, request_id, value))
        self.at_s.append(time.monotonic() - self._began)


class HeldEngine:
    """An Engine that never answers by itself, and lets go of aborted requests when the test says so.

    Attributes:
        sink: Where the test reports in the engine's name; set by `start`.
        submitted: Ids of all requests, in order.
        aborted: Ids of each `abort`, sorted.
        may_let_go: `abort` waits for it.
        error: What `abort` and `check` raise from now on; None for nothing.
        tokens: What `generated` says.
    """

    def __init__(self) -> None:
        self.sink: Sink | None = None
        self.submitted: list[int] = []
        self.aborted: list[list[int]] = []
        self.may_let_go = asyncio.Event()
        self.tokens: int | None = None
        self.error: Exception | None = None

    async def start(self, sink: Sink) -> EngineFacts:
        """Ready at once."""
        self.sink = sink
        return EngineFacts("held", "1", is_simulated=True, max_sequence_tokens=None, max_concurrent=7)

    def submit(self, requests: Sequence[Request]) -> None:
        """Take requests and keep them."""
        self.submitted += [request.id for request in requests]

    async def abort(self, request_ids: Collection[int]) -> None:
        """Wait for `may_let_go`."""
        self.aborted.append(sorted(request_ids))
        await self.may_let_go.wait()
        self.check()

    def check(self) -> None:
        """Raise `error`, if there is one."""
        if self.error is not None:
            raise self.error

    def generated(self) -> int | None:
        """What the test says."""
        return self.tokens

    def vitals(self) -> Vitals:
        """Nothing is known."""
        return Vitals()

    async def stop(self) -> None:
        """Nothing to free."""


class FakeLink:
    """The SUT's Link to a replica that answers when the test says so.

    Attributes:
        index: The replica's number.
        asked: Requests that it was asked, by id; a test takes out what it answers.
        ever: Ids of all requests that it was ever asked, in order.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.asked: dict[int, Request] = {}
        self.ever: list[int] = []

    @property
    def hear(self) -> zmq.Socket[bytes]:
        """There is none: the test gives events to `Sut.handle` itself."""
        raise AssertionError("a Sut between fakes is not started")

    def ask(self, requests: list[Request]) -> None:
        """Take requests; one that is there already is refused."""
        for request in requests:
            assert request.id not in self.asked, f"request {request.id} was sent twice"
            self.asked[request.id] = request
            self.ever.append(request.id)

    def heard(self) -> Iterator[Events]:
        """Nothing."""
        return iter(())

    def check_alive(self) -> None:
        """It lives."""


class FakeLoadgen:
    """LoadGen's side of the SUT, a Reporter: fails, as LoadGen dies, at an id that is unknown or complete.

    Attributes:
        issued: Sample of each query, by LoadGen's id.
        first: First token of each query, by id.
        complete: Answer of each query, by id.
    """

    def __init__(self) -> None:
        self.issued: dict[int, int] = {}
        self.first: dict[int, int] = {}
        self.complete: dict[int, bytes] = {}

    def draw(self, samples: Sequence[int]) -> list[int]:
        """Ids for queries that are issued now, one for each sample."""
        start = _FIRST_LOADGEN_ID + len(self.issued)
        ids = list(range(start, start + len(samples)))
        self.issued.update(zip(ids, samples, strict=True))
        return ids

    def report_first_tokens(self, loadgen_ids: Sequence[int], tokens: Sequence[int]) -> None:
        """The first token of these queries exists."""
        for loadgen_id, token in zip(loadgen_ids, tokens, strict=True):
            self._refuse_unless_open(loadgen_id)
            assert loadgen_id not in self.first, f"query {loadgen_id} has its first token"
            self.first[loadgen_id] = token

    def complete_samples(self, loadgen_ids: Sequence[int], answers: Sequence[bytes]) -> None:
        """These queries are complete."""
        for loadgen_id, answer in zip(loadgen_ids, answers, strict=True):
            self._refuse_unless_open(loadgen_id)
            self.complete[loadgen_id] = answer

    def _refuse_unless_open(self, loadgen_id: int) -> None:
        assert loadgen_id in self.issued, f"query {loadgen_id} was never issued"
        assert loadgen_id not in self.complete, f"query {loadgen_id} is complete"


class RecordingView:
    """A View that keeps what people would see.

    Attributes:
        said: Lines that stay.
        records: Those of each tick.
        is_closed: Whether the run is over.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.records: list[LiveRecord] = []
        self.is_closed = False

    def say(self, line: str) -> None:
        """Keep a line."""
        self.said.append(line)

    def tick(self, record: LiveRecord) -> None:
        """Keep the record."""
        self.records.append(record)

    @property
    def stages(self) -> list[str]:
        """The stage of each record."""
        return [record.stage for record in self.records]

    def close(self) -> None:
        """The run is over."""
        self.is_closed = True


class FakeHandle:
    """The Handle of a process that ends when the test, or a signal, says so.

    Attributes:
        name: As it was given.
        role: As it was given.
        log: As it was given.
        environment: As it was given.
        host: Empty: this one.
        process_id: None that exists.
        signals: Those that it got.
        reason: Why it ended; None while it runs.
        text: What its log holds.
        done: What it has done so far; None: not known.
    """

    def __init__(self, name: str, role: Role, log: Path, environment: Mapping[str, str]) -> None:
        self.name, self.role, self.log, self.environment = name, role, log, environment
        self.host, self.process_id = "", 0
        self.signals: list[Signals] = []
        self.reason: str | None = None
        self.text = "what it last wrote\n"
        self.done: Effort | None = None

    def exit_reason(self) -> str | None:
        """Why it ended."""
        return self.reason

    def log_size(self) -> int:
        """Length of `text`."""
        return len(self.text)

    def log_text(self, start: int) -> str:
        """The end of `text`."""
        return self.text[start:]

    def effort(self) -> Effort | None:
        """What the test says."""
        return self.done

    def stopped(self) -> list[str]:
        """None."""
        return []

    def signal(self, number: Signals) -> None:
        """End, whatever the signal."""
        self.signals.append(number)
        self.reason = self.reason or f"was killed by {number.name}"

    def wait(self, seconds: float) -> bool:
        """Whether it has ended."""
        del seconds
        return self.reason is not None


class FakeLauncher:
    """A Launcher that starts nothing; its children speak over the real control plane when the test says so.

    Attributes:
        listens_at: Empty: its children listen on the command's own interface.
        started: Handles by the children's names, in order.
        specs: What their spec files say, by name.
        others: What `strangers` finds.
        on_start: Called with each new handle and its spec, e.g. to let it speak at once.
        sockets: Of the children that have spoken, by name.
    """

    def __init__(self) -> None:
        self.listens_at = ""
        self.started: dict[str, FakeHandle] = {}
        self.specs: dict[str, dict[str, Any]] = {}
        self.others: list[int] = []
        self.on_start: Callable[[FakeHandle, dict[str, Any]], None] = lambda handle, spec: None
        self.sockets: dict[str, zmq.Socket[bytes]] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    def start(
        self, role: Role, name: str, spec: Path, log: Path, environment: Mapping[str, str]
    ) -> FakeHandle:
        """Note what is to be started."""
        handle = self.started[name] = FakeHandle(name, role, log, environment)
        self.specs[name] = msgspec.json.decode(spec.read_bytes()) if spec.is_file() else {}
        self.on_start(handle, self.specs[name])
        return handle

    def strangers(self, role: Role) -> list[int]:
        """What the test says."""
        del role
        return self.others

    def say(self, control: str, name: str, message: ControlMessage) -> None:
        """Speak as the child called `name` to whoever listens at `control`."""
        if name not in self.sockets:
            socket = self.sockets[name] = self._context.socket(zmq.DEALER)
            socket.setsockopt(zmq.IDENTITY, name.encode())
            socket.connect(control)
        self.sockets[name].send(encode(message))

    def close(self) -> None:
        """Say nothing any more."""
        self._context.destroy(linger=0)
