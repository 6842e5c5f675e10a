"""One test on the replicas of a fleet: its process, its progress, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from harness_llm.core import Mode, counted
from harness_llm.errors import EngineError, HarnessError, LoadgenLost
from harness_llm.fleet.ground import Ground
from harness_llm.fleet.pace import PATIENCE_S, STALL_S, Pace
from harness_llm.fleet.roles import LOADGEN
from harness_llm.launch.cause import log_tail
from harness_llm.launch.child import Child
from harness_llm.launch.children import Children
from harness_llm.logs.written import check_written
from harness_llm.results.observed import BusyPeriod, OthersRecord
from harness_llm.results.paths import LOADGEN_LOG, SPEC_JSON
from harness_llm.results.run_folder import TestFolder
from harness_llm.system.others import Others
from harness_llm.transport.spec import LoadgenSpec, LoadgenTest, write_spec
from harness_llm.transport.wire import Progress, ReplicaFailed, ReplicaGone
from harness_llm.views.progress import TestProgress

_log = logging.getLogger(__name__)
_STILL_S = 2.0  # two heartbeats without a token
_ENDS_S = 120.0  # for LoadGen to write the answers of an accuracy test and to end, once it has them all
_ITS_REPLICA_FIRST_S = 2.0  # a replica that has stalled is the one to name, at its next heartbeat


@dataclass(frozen=True)
class TestResult:
    """What came of one test.

    Attributes:
        test: What ran.
        folder: Where its files are.
        state: `complete` where LoadGen ended by itself, else `abandoned`.
        report: What the loadgen process knows of it: seconds, samples, tokens; empty if abandoned.
        reason: Why it was abandoned; empty if complete.
    """

    __test__ = False  # no pytest class

    test: LoadgenTest
    folder: Path
    state: Literal["complete", "abandoned"]
    report: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


class Measurement:
    """A test that runs, from its loadgen process's start to its result.

    Args:
        children: Where its process is started.
        engines: Name of the fleet.
        replicas: The replicas that it asks, by number; loaded.
        test: What runs.
        folder: Where its files go; anything already there is moved aside, not overwritten.

    Attributes:
        progress: How it goes.
        result: What came of it; None while it runs, and of one that broke.
    """

    def __init__(
        self, children: Children, engines: str, replicas: Sequence[Child], test: LoadgenTest, folder: Path
    ) -> None:
        self.test = test
        self.progress = TestProgress(test, others=Others())
        self.result: TestResult | None = None
        self._is_over = False
        self._children = children
        self._replicas = replicas
        self._folder = TestFolder(folder)
        self._folder.begin(
            scenario=test.scenario,
            mode=test.mode,
            loadgen_model=test.loadgen_model,
            target_qps=test.target_qps,
            engines=engines,
        )
        self._ground = Ground(folder)
        self._paces = [Pace(test.stall_timeout_s) for _ in replicas]
        self._gone: list[ReplicaGone] = []
        self._loadgen = self._start()
        self._news_s = self._worked_s = children.clock.now_s
        self._done_s: float | None = None
        self._lost, self._lost_s = "", 0.0

    @property
    def is_over(self) -> bool:
        """Whether its process is gone."""
        return self._is_over

    @property
    def folder(self) -> Path:
        """Where its files go."""
        return self._folder.path

    def still_s(self, number: int) -> float:
        """For how long a replica has generated nothing though it has work, seconds."""
        return self._paces[number].still_s(self._children.clock.now_s)

    def _start(self) -> Child:
        for number, replica in enumerate(self._replicas):
            replica.silence_s = self.test.silence_timeout_s
            replica.spare = partial(self._spare, number)
        name = self._children.free_name(f"loadgen-{self.test.name}")
        spec = LoadgenSpec(
            name=name,
            control=self._children.control,
            replicas=[child.ready.endpoint for child in self._replicas if child.ready is not None],
            folder=str(self._folder.path.resolve()),
            test=self.test,
            keys=self._children.keys and self._children.keys.for_client(),
        )
        path = self._folder.path / SPEC_JSON
        write_spec(spec, path)
        child = self._children.start(LOADGEN, name, path, self._folder.path / LOADGEN_LOG, hear=self._hear)
        child.silence_s = self.test.silence_timeout_s
        return child

    @property
    def _living(self) -> list[Child]:
        return [replica for replica in self._replicas if not replica.is_lost]

    def _spare(self, number: int, error: HarnessError) -> bool:
        """Whether the test continues after losing a replica."""
        if self.test.on_replica_failure == "fail" or self._living == [self._replicas[number]]:
            return False
        self._gone.append(ReplicaGone(number, error.message))
        return True

    def _tell_gone(self) -> None:
        if self._loadgen.has_spoken and self._loadgen.report is None:
            for message in self._gone:
                self._children.tell(self._loadgen, message)
            self._gone.clear()

    def _hear(self, message: Progress | ReplicaFailed) -> None:
        if isinstance(message, ReplicaFailed):
            replica = self._replicas[message.replica]
            if not replica.is_lost:
                self._children.give_up(replica, f"was given up: {message.message}", message.remedy)
            return
        if self.progress.update(message):
            self._news_s = self._children.clock.now_s
        if message.lost and not self._lost:
            self._lost, self._lost_s = message.lost, self._children.clock.now_s

    def step(self) -> None:
        """Look how far it is; call it after each turn of the children.

        Raises:
            RunBroken: Nothing happens any more, or LoadGen could not write its logs whole.
        """
        child = self._loadgen
        if self.progress.others is not None:
            self.progress.others.look()
        self.progress.stage = child.stage or self.progress.stage
        self._tell_gone()
        if child.report is None:
            self._ground.check(self._children.clock.now_s)
            for number, replica in enumerate(self._replicas):
                self._check_pace(number, replica)
            self._check_progress()
            if self._lost and all(map(self._is_accounted_for, range(len(self._replicas)))):
                self.progress.lost = self._lost
        elif child.handle.exit_reason() is None:
            self._check_end()
        else:
            check_written(self._folder.path)
            self._end()
            self._folder.complete(child.report)
            self._record_others()
            self.result = TestResult(self.test, self._folder.path, "complete", child.report)

    def _check_pace(self, number: int, replica: Child) -> None:
        """Give a replica up that lives and whose engine does not go on."""
        heartbeat, pace = replica.heartbeat, self._paces[number]
        if replica.is_lost:
            return
        stalled_s = pace.hear(heartbeat, self._children.clock.now_s)
        if stalled_s is None:
            return
        stopped = ", ".join(replica.handle.stopped())
        self._children.give_up(
            replica,
            f"has generated nothing for {stalled_s:.0f} s ({pace.patience_s:.0f} s are allowed), though it "
            f"lives: {counted(heartbeat.in_flight, 'request')} in flight, {heartbeat.answers:,} answered"
            + (f"; stopped by a signal: {stopped}" if stopped else ""),
            "Look at its log and its device; where an engine may take longer for its next token, raise "
            "harness_config.stall_timeout_s.",
        )

    def _is_accounted_for(self, number: int) -> bool:
        """Whether a replica, since the test is lost, went forward, or stands still long enough to be named.

        One that is silent may be the reason for samples that are late: then its loss is what ends the test.
        """
        replica, still_s = self._replicas[number], self.still_s(number)
        lost_for_s = self._children.clock.now_s - self._lost_s
        return replica.is_lost or (
            replica.heard_s > self._lost_s and (still_s < lost_for_s or still_s >= _STILL_S)
        )

    def _check_progress(self) -> None:
        """Refuse to wait on for an answer that an engine, or LoadGen, has lost though everybody lives."""
        now = self._children.clock.now_s
        limit = STALL_S if self.test.stall_timeout_s is None else self.test.stall_timeout_s
        if any(child.heartbeat.in_flight for child in self._living) or not self._loadgen.heartbeat.in_flight:
            self._worked_s = now
        if (
            self.test.mode is Mode.ACCURACY
            and self.progress.done == self.test.expected
            and now - self._news_s > _ENDS_S
        ):
            raise LoadgenLost(
                f"{self.test.name}: every query is answered, and LoadGen has not ended for {_ENDS_S:.0f} s",
                "LoadGen waits by the system clock: keep it from being set while a test runs, then continue "
                "with --resume.",
            )
        is_lost = now - max(self._worked_s, self._news_s) > PATIENCE_S  # nobody works on it
        if not is_lost and now - self._news_s <= limit + _ITS_REPLICA_FIRST_S:
            return
        open_ = ", ".join(
            f"{child.name} {child.heartbeat.in_flight}" for child in (*self._living, self._loadgen)
        )
        raise EngineError(
            f"{self.test.name}: nothing was asked, begun or answered for {now - self._news_s:.0f} s, though "
            f"every process lives; {self.progress.done} of {self.progress.issued} queries are answered; "
            f"unfinished: {open_}",
            "Look at the logs of the replicas that have unfinished queries; where an answer may take longer, "
            "raise harness_config.stall_timeout_s.",
        )

    def _check_end(self) -> None:
        now, child = self._children.clock.now_s, self._loadgen
        self._done_s = now if self._done_s is None else self._done_s
        if now - self._done_s > self.test.silence_timeout_s:
            log = f"log {child.handle.log}{log_tail(child.handle)}"
            raise LoadgenLost(f"{child.name} did not end after its test; {log}")

    def abandon(self, reason: str) -> None:
        """Give the test up: its process ends at once, its folder stays and says why."""
        reason = "; ".join((reason, *self._still()))
        try:
            self._folder.abandoned(reason)
            self._record_others()
        finally:
            self._end()
        self.result = TestResult(self.test, self._folder.path, "abandoned", reason=reason)

    def _still(self) -> Iterator[str]:
        """Each replica that generates nothing though it has work: what is late may be late for that."""
        for replica, pace in zip(self._replicas, self._paces, strict=True):
            still_s = pace.still_s(self._children.clock.now_s)
            if not replica.is_lost and still_s >= _STILL_S:
                yield (
                    f"{replica.name} has generated nothing for {still_s:.0f} s, "
                    f"with {replica.heartbeat.in_flight} requests in flight"
                )

    def break_off(self, error: BaseException | None) -> None:
        """End a test that cannot continue; its folder stays and says why."""
        reason = error.message if isinstance(error, HarnessError) else "interrupted"
        try:
            self._folder.broken(reason)
        except HarnessError as second:  # the disk is full, or the folder gone: the first error is the cause
            said = second.message  # its remedy is not what helps here
            _log.warning("%s: test.json does not say that the test is broken: %s", self.test.name, said)
        finally:
            self._end()

    def _record_others(self) -> None:
        others = self.progress.others
        if others is not None:
            periods = tuple(
                BusyPeriod(from_s=round(each.from_s, 1), to_s=round(each.to_s, 1), cores=round(each.cores, 2))
                for each in others.periods()
            )
            record = OthersRecord(cores=others.cores, mean=round(others.mean, 2), periods=periods)
            self._folder.beside(record)

    def _end(self) -> None:
        self._is_over = True
        for replica in self._replicas:
            replica.spare = lambda _: False
        self._children.end(self._loadgen)
