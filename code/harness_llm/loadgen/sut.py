"""The system under test as LoadGen sees it: takes queries, hands them to replicas, reports answers."""

from __future__ import annotations

import threading
import time
from array import array
from typing import TYPE_CHECKING, Protocol

import zmq

from harness_llm.core import Request
from harness_llm.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness_llm.datasets.table import SampleTable
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
    ) -> None:
        self._table = table
        self._links = links
        self._router = router
        self._ledger = ledger
        self._reporter = reporter
        self._reports_first_tokens = reports_first_tokens
        self._on_fatal = on_fatal
        self._lock = threading.Lock()
        self._prompts = [table.prompt(sample).tobytes() for sample in range(len(table))]
        self._prompt_lengths = table.prompt_lengths.tolist()
        self._costs = (table.prompt_lengths + table.max_tokens).tolist()
        self._min_tokens = table.min_tokens.tolist()
        self._max_tokens = table.max_tokens.tolist()
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
                    for events in by_socket[socket].heard():
                        self.handle(by_socket[socket].index, events)
                for link in self._links:
                    link.check_alive()
        except BaseException as error:  # noqa: BLE001 - the test can never complete without this thread
            self._on_fatal(error)

    def handle(self, replica: int, events: Events) -> None:
        """Record what a replica reports and tell LoadGen of it; on the receiver thread.

        Raises:
            ProtocolError: It reports what cannot be true.
            EngineError: Its engine failed on a sample.
        """
        now = time.monotonic_ns()
        if events.first_ids and self._reports_first_tokens:
            with self._lock:
                for ordinal in events.first_ids:
                    self._ttft.append(self._ledger.record_first_token(ordinal, replica, now) / 1e9)
                loadgen_ids = self._ledger.loadgen_ids(events.first_ids)
            self._reporter.report_first_tokens(loadgen_ids, events.first_tokens)
        if events.finished_ids:
            self._finish(replica, events, now)
        if events.failures:
            self._fail(replica, events)

    def _finish(self, replica: int, events: Events, now: int) -> None:
        ledger = self._ledger
        with self._lock:
            for ordinal, answer in zip(events.finished_ids, events.finished_tokens, strict=True):
                per_token = ledger.record_finish(
                    ordinal, replica, len(answer) // 4, now, self._reports_first_tokens
                )
                if per_token is not None:
                    self._tpot.append(per_token / 1e9)
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
