"""One test on the replicas of a fleet: its process, its progress, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness_llm.errors import EngineError, HarnessError, LoadgenLost
from harness_llm.fleet.roles import LOADGEN
from harness_llm.launch.child import Child
from harness_llm.launch.children import Children
from harness_llm.logs.written import check_written
from harness_llm.results.paths import LOADGEN_LOG, SPEC_JSON
from harness_llm.results.records import BusyPeriod, OthersRecord
from harness_llm.results.run_folder import TestFolder
from harness_llm.system.others import Others
from harness_llm.transport.spec import LoadgenSpec, LoadgenTest, write_spec
from harness_llm.transport.wire import Progress
from harness_llm.views.progress import TestProgress


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
        folder: Where its files go; what lies there is kept beside it.

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
        self._loadgen = self._start()
        self._news_s = children.clock.now_s
        self._done_s: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether its process is gone."""
        return self._is_over

    def _start(self) -> Child:
        for replica in self._replicas:
            replica.silence_s = self.test.silence_timeout_s
        name = self._children.free_name(f"loadgen-{self.test.name}")
        spec = LoadgenSpec(
            name=name,
            control=self._children.control,
            replicas=[child.ready.endpoint for child in self._replicas if child.ready is not None],
            folder=str(self._folder.path.resolve()),
            test=self.test,
        )
        path = self._folder.path / SPEC_JSON
        write_spec(spec, path)
        child = self._children.start(LOADGEN, name, path, self._folder.path / LOADGEN_LOG, hear=self._hear)
        child.silence_s = self.test.silence_timeout_s
        return child

    def _hear(self, message: Progress) -> None:
        if self.progress.update(message):
            self._news_s = self._children.clock.now_s

    def step(self) -> None:
        """Look how far it is; call it after each turn of the children.

        Raises:
            RunBroken: Nothing happens any more, or LoadGen could not write its logs whole.
        """
        child = self._loadgen
        if self.progress.others is not None:
            self.progress.others.look()
        self.progress.stage = child.stage or self.progress.stage
        if child.report is None:
            self._check_progress()
        elif child.handle.exit_reason() is None:
            self._check_end()
        else:
            check_written(self._folder.path)
            self._end()
            self._folder.complete(child.report)
            self._record_others()
            self.result = TestResult(self.test, self._folder.path, "complete", child.report)

    def _check_progress(self) -> None:
        """Refuse to wait on for an answer that an engine, or LoadGen, has lost though everybody lives."""
        limit = self.test.stall_timeout_s
        if self._children.clock.now_s - self._news_s <= limit:
            return
        open_ = ", ".join(
            f"{child.name} {child.heartbeat.in_flight}" for child in (*self._replicas, self._loadgen)
        )
        raise EngineError(
            f"{self.test.name}: nothing was asked, begun or answered for {limit:g} s, though every "
            f"process lives; {self.progress.done} of {self.progress.issued} queries are answered; "
            f"unfinished: {open_}",
            "Look at the logs of the replicas that have unfinished queries; where an answer may take longer, "
            "raise harness_config.stall_timeout_s.",
        )

    def _check_end(self) -> None:
        now, child = self._children.clock.now_s, self._loadgen
        self._done_s = now if self._done_s is None else self._done_s
        if now - self._done_s > self.test.silence_timeout_s:
            log = f"log {child.handle.log}{child.handle.log_tail()}"
            raise LoadgenLost(f"{child.name} did not end after its test; {log}")

    def abandon(self, reason: str) -> None:
        """Give the test up: its process ends at once, its folder stays and says why."""
        try:
            self._folder.abandoned(reason)
            self._record_others()
        finally:
            self._end()
        self.result = TestResult(self.test, self._folder.path, "abandoned", reason=reason)

    def break_off(self, error: BaseException | None) -> None:
        """End a test that cannot continue; its folder stays and says why."""
        try:
            self._folder.broken(error.message if isinstance(error, HarnessError) else "interrupted")
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
        self._children.end(self._loadgen)
