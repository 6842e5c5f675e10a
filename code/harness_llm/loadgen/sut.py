"""The system under test as LoadGen sees it: takes queries, hands them to replicas, reports answers."""

from __future__ import annotations

import threading
import time
from array import array
from typing import TYPE_CHECKING, Protocol

import zmq
from msgspec.structs import replace

from harness_llm.core import Request
from harness_llm.errors import EngineError, ProtocolError, ReplicaLost
from harness_llm.loadgen.answers import AnswerWatch
from harness_llm.results.observed import SurvivedFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness_llm.datasets.table import SampleTable
    from harness_llm.errors import HarnessError
    from harness_llm.loadgen.late import LateWatch
    from harness_llm.loadgen.ledger import Ledger
    from harness_llm.loadgen.router import Assignment, Router
    from harness_llm.transport.wire import Events


_REQUESTS_A_MESSAGE = 512
_POLL_MS = 200


class Reporter(Protocol):
    """What the SUT tells LoadGen; `lib` in a run, a fake in tests."""

    def report_first_tokens(self, loadgen_ids: Sequence[int], tokens: Sequence[int]) -> None:
        """The first token of these queries exists."""

    def complete_samples(self, loadgen_ids: Sequence[int], answers: Sequence[bytes]) -> None:
        """These queries are complete."""


class Link(Protocol):
    """The SUT's way to one replica; `ReplicaLink` in a run, a fake in tests."""

    @property
    def index(self) -> int:
        """The replica's number."""

    @property
    def hear(self) -> zmq.Socket[bytes]:
        """Readable when `heard` has something to give."""

    def ask(self, requests: list[Request]) -> None:
        """Send requests; the caller holds the SUT's lock."""

    def heard(self) -> Iterator[Events]:
        """What has arrived since the last call."""

    def check_alive(self) -> None:
        """Return if the replica lives.

        Raises:
            ReplicaLost: It does not.
        """


class Sut:
    """Two threads meet here: LoadGen's, which issues, and the receiver, which completes.

    Args:
        table: The samples.
        links: Open sessions, by replica number.
        router: Who answers what.
        ledger: Where every query is recorded.
        reporter: Where completions go.
        reports_first_tokens: Whether LoadGen judges TTFT (Server, Interactive).
        on_fatal: Called from any thread with an error after which the test cannot continue; must not return.
        on_lost: Called with a replica, and why, that the test goes on without; None where its loss ends the
            test.
        gone: Replicas that have ended, and why; others add to it at any time.
        limits: Counts samples over the limits; None where nothing judges them.

    Attributes:
        survived: The replicas that the test went on without.
        answers: What was seen of the answers.
    """

    def __init__(
        self,
        *,
        table: SampleTable,
        links: Sequence[Link],
        router: Router,
        ledger: Ledger,
        reporter: Reporter,
        reports_first_tokens: bool,
        on_fatal: Callable[[BaseException], None],
        on_lost: Callable[[int, HarnessError], None] | None = None,
        gone: Mapping[int, str] | None = None,
        limits: LateWatch | None = None,
    ) -> None:
        self.answers = AnswerWatch(len(links))
        self._table = table
        self._links = tuple(links)
        self._router = router
        self._ledger = ledger
        self._reporter = reporter
        self._reports_first_tokens = reports_first_tokens
        self._on_fatal = on_fatal
        self._on_lost = on_lost
        self._gone = {} if gone is None else gone
        self._living = dict(enumerate(links))
        self._first: dict[int, int] = {}  # first tokens of unfinished queries, as their replica reported them
        self.survived: list[SurvivedFailure] = []
        self._lock = threading.Lock()
        self._prompts = [table.prompt(sample).tobytes() for sample in range(len(table))]
        self._prompt_lengths = table.prompt_lengths.tolist()
        self._costs = (table.prompt_lengths + table.max_tokens).tolist()
        self._min_tokens = table.min_tokens.tolist()
        self._max_tokens = table.max_tokens.tolist()
        self._limits = limits
        self._lost = ""
        self._ttft = array("f")
        self._tpot = array("f")
        self._stopping = threading.Event()
        self._receiver = threading.Thread(target=self._receive, name="receiver", daemon=True)

    def start(self) -> None:
        """Begin to hear from the replicas."""
        self._receiver.start()

    def stop(self) -> None:
        """Stop hearing; every query is complete."""
        self._stopping.set()
        self._receiver.join()

    def issue(self, loadgen_ids: list[int], samples: list[int]) -> None:
        """LoadGen asks; its callback, so nothing may be raised from here."""
        try:
            prompts = [self._prompt_lengths[sample] for sample in samples]
            costs = [self._costs[sample] for sample in samples]
            with self._lock:
                ordinals = self._ledger.record_issue(loadgen_ids, samples, prompts)
                self._send(self._router.assign(ordinals, costs))
        except BaseException as error:  # noqa: BLE001 - an exception that leaves this callback kills the process unseen
            self._on_fatal(error)

    def flush(self) -> None:
        """LoadGen has issued its last query; nothing is held back here, so there is nothing to do."""

    def take_latencies(self) -> tuple[bytes, bytes]:
        """(TTFT, TPOT) in seconds, float32, of what happened since the last call."""
        with self._lock:
            ttft, self._ttft = self._ttft, array("f")
            tpot, self._tpot = self._tpot, array("f")
        return ttft.tobytes(), tpot.tobytes()

    def lost(self) -> str:
        """Why the test cannot be VALID any more, a sentence without its end; empty while it can."""
        if not self._lost and self._limits is not None:
            with self._lock:  # no event is recorded between the clock and the look
                self._lost = self._limits.why_lost(
                    self._ledger.events(self._limits.settled), time.monotonic_ns()
                )
        return self._lost

    def _send(self, assignments: Sequence[Assignment]) -> None:
        for replica, ordinals in assignments:
            for start in range(0, len(ordinals), _REQUESTS_A_MESSAGE):
                self._links[replica].ask(
                    [self._request(o, replica) for o in ordinals[start : start + _REQUESTS_A_MESSAGE]]
                )

    def _request(self, ordinal: int, replica: int) -> Request:
        sample = self._ledger.record_assignment(ordinal, replica)
        return Request(
            ordinal,
            self._prompts[sample],
            self._min_tokens[sample],
            self._max_tokens[sample],
            self._reports_first_tokens,
        )

    def _receive(self) -> None:
        try:
            poller = zmq.Poller()
            by_socket = {link.hear: link for link in self._links}
            for socket in by_socket:
                poller.register(socket, zmq.POLLIN)
            while not self._stopping.is_set():
                for socket, _ in poller.poll(_POLL_MS):
                    self._hear(by_socket[socket])
                for link in list(self._living.values()):
                    self._look_after(link)
                    if link.index not in self._living:
                        poller.unregister(link.hear)
        except BaseException as error:  # noqa: BLE001 - the test can never complete without this thread
            self._on_fatal(error)

    def _hear(self, link: Link) -> None:
        messages = link.heard()
        while True:
            try:
                events = next(messages, None)
            except (ReplicaLost, ProtocolError) as error:  # raised before anything was recorded
                return self._survive(link, error)
            if events is None:
                return None
            self.handle(link.index, events)

    def _look_after(self, link: Link) -> None:
        if link.index in self._gone:
            self._hear(link)  # what it said before its end counts
            self.go_on_without(link.index, self._gone[link.index])
            return
        try:
            link.check_alive()
        except ReplicaLost as error:
            self._survive(link, error)

    def _survive(self, link: Link, error: HarnessError) -> None:
        if self._on_lost is None or len(self._living) == 1:
            raise error
        self._on_lost(link.index, error)
        self.go_on_without(link.index, error.message)

    def go_on_without(self, replica: int, reason: str) -> None:
        """Go on without a replica: the others get what it has not answered.

        Args:
            replica: Its number.
            reason: Why, for people.

        Raises:
            ReplicaLost: There is no other one.
        """
        with self._lock:
            if self._living.pop(replica, None) is None:
                return
            if not self._living:
                raise ReplicaLost(reason, "No replica is left.")
            ordinals = self._ledger.unfinished(replica)
            self._ledger.take_back(ordinals)
            self._send(self._router.lose(replica, ordinals))
            self.survived.append(SurvivedFailure(replica=replica, reason=reason, redispatched=len(ordinals)))

    def handle(self, replica: int, events: Events) -> None:
        """Record what a replica reports and tell LoadGen of it; on the receiver thread.

        Whatever a replica that is lost says is dropped.

        Raises:
            ProtocolError: It reports what cannot be true.
            EngineError: Its engine failed on a sample.
        """
        if replica not in self._living:
            return
        if events.first_ids and self._reports_first_tokens:
            self._begin(replica, events)
        if events.finished_ids:
            self._finish(replica, events)
        if events.failures:
            self._fail(replica, events)

    def _begin(self, replica: int, events: Events) -> None:
        ids, tokens = events.first_ids, events.first_tokens
        with self._lock:
            now = time.monotonic_ns()  # under the lock, as everything that `lost` sees
            record, batch = self._ledger.record_first_token, events.batch_ns
            waits = [record(ordinal, replica, now, batch) for ordinal in ids]
            if None in waits:  # a first token is reported once, whoever repeats it
                new = [place for place, wait in enumerate(waits) if wait is not None]
                self._compare([(i, t) for i, t, wait in zip(ids, tokens, waits, strict=True) if wait is None])
                ids, tokens = [ids[place] for place in new], [tokens[place] for place in new]
            self._first.update(zip(events.first_ids, events.first_tokens, strict=True))
            self._ttft.extend(wait / 1e9 for wait in waits if wait is not None)
            loadgen_ids = self._ledger.loadgen_ids(ids)
        if ids:
            self._reporter.report_first_tokens(loadgen_ids, tokens)

    def _compare(self, repeated: list[tuple[int, int]]) -> None:
        """Count first tokens that are not what the lost replica had reported."""
        changed = sum(self._first.get(ordinal) != token for ordinal, token in repeated)
        if changed:
            last = self.survived[-1]
            self.survived[-1] = replace(last, changed_first_tokens=last.changed_first_tokens + changed)

    def _finish(self, replica: int, events: Events) -> None:
        ledger, look_at, needs_first = self._ledger, self.answers.add, self._reports_first_tokens
        least, most, first, batch = self._min_tokens, self._max_tokens, self._first, events.batch_ns
        with self._lock:
            now = time.monotonic_ns()
            for ordinal, answer in zip(events.finished_ids, events.finished_tokens, strict=True):
                per_token = ledger.record_finish(ordinal, replica, len(answer) // 4, now, needs_first, batch)
                if per_token is not None:
                    self._tpot.append(per_token / 1e9)
                sample = ledger.sample(ordinal)
                fault = look_at(replica, answer, least[sample], most[sample], first.pop(ordinal, None))
                if fault and not self._lost:
                    self._lost = f"replica {replica}, sample {sample}: {fault}"
            loadgen_ids = ledger.loadgen_ids(events.finished_ids)
            self._send(self._router.release(replica, events.finished_ids))
        self._reporter.complete_samples(loadgen_ids, events.finished_tokens)

    def _fail(self, replica: int, events: Events) -> None:
        with self._lock:
            for ordinal, _ in events.failures:
                self._ledger.record_failure(ordinal, replica)
        ordinal, reason = events.failures[0]
        sample = self._ledger.sample(ordinal)
        raise EngineError(
            f"replica {replica}: the engine failed on sample {sample} "
            f"({len(events.failures)} failures in this message): {reason}"
        )
