"""The supervisor: loads replicas, runs one loadgen process a test on them, and has every test followed up."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any, Self

from harness_llm.errors import EngineError, HarnessError, LoadgenLost, ProtocolError
from harness_llm.fleet.follow_up import describe_follow_up, run_beside
from harness_llm.launch.children import Children
from harness_llm.launch.local import living
from harness_llm.launch.placement import replica_environments
from harness_llm.logs.written import check_written
from harness_llm.results.folder import utc_now, write_json
from harness_llm.transport.spec import ReplicaSpec, TestSpec, write_spec
from harness_llm.transport.wire import PROTOCOL_VERSION, Done, Progress, Ready, Stage
from harness_llm.views.progress import TestProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness_llm.fleet.plan import PlannedTest, RunPlan
    from harness_llm.launch.local import Child
    from harness_llm.results.folder import RunFolder, TestFolder
    from harness_llm.transport.wire import ControlMessage
    from harness_llm.views.live import View

__all__ = ["Supervisor"]

_REPLICA, _LOADGEN = "harness_llm.replica.process", "harness_llm.loadgen.process"


class Supervisor:
    """Runs the tests of a plan; every child is gone when the `with` block ends, however it ends.

    Args:
        folder: The run's folder, held.
        view: Where to show how it goes.
    """

    def __init__(self, folder: RunFolder, view: View) -> None:
        self._folder = folder
        self._view = view
        self._children = Children(self._take)
        self._ready: dict[str, Ready] = {}
        self._stages: dict[str, str] = {}
        self._progress: TestProgress | None = None
        self._done: dict[str, Any] | None = None
        self._following = ""

    def __enter__(self) -> Self:
        self._children.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_replicas()
        self._children.__exit__()

    def run(self, plan: RunPlan, after_test: Callable[[Path], None]) -> None:
        """Run every test that is not complete yet, and follow up on those that are.

        Args:
            plan: What to run.
            after_test: Called once with the folder of each test that LoadGen ended by itself, on a thread of
                its own, so that the children are watched meanwhile.

        Raises:
            RunBroken: A child died, fell silent or gave up; the test says so in its test.json.
        """
        for group in plan.groups():
            if not all(self._folder.test(test.name).is_complete for test in group):
                self._start_replicas(group)
            for test in group:
                folder = self._folder.test(test.name)
                if not folder.is_complete:
                    self._run_test(plan, test)
                if test is group[-1]:  # what follows needs no engine, and must not fail with one
                    self._stop_replicas()
                if not folder.is_followed_up:
                    self._follow_up(test, folder, after_test)

    def _follow_up(self, test: PlannedTest, folder: TestFolder, after_test: Callable[[Path], None]) -> None:
        self._following = f"{test.name}: {describe_follow_up(test)}"
        run_beside(lambda: after_test(folder.path), self._turn)
        self._following = ""
        folder.record(followed_up=True)

    # ------------------------------------------------------------------ replicas

    def _start_replicas(self, group: Sequence[PlannedTest]) -> None:
        """Load the engine that all tests of a group share; the most patient of their timeouts hold."""
        config = group[0].config
        harness = config.harness_config
        self._children.silence_s = max(test.config.harness_config.silence_timeout_s for test in group)
        control = self._children.listen(harness.port)
        arguments = harness.simulated.model_dump() if harness.engine == "simulated" else config.llm_config
        environments = replica_environments(config)
        replicas = self._folder.path / "replicas"
        count = f"{len(environments)} replica{'s' * (len(environments) > 1)}"
        self._view.say(f"{count} of {harness.engine} starting; log: {replicas}/*/log.txt")
        if others := living(_REPLICA):
            self._view.say(
                f"note: another run is on this host (process ids {', '.join(map(str, others))}); "
                "what shares a device or a core is measured slower"
            )
        for index, environment in enumerate(environments):
            folder = replicas / str(index)
            folder.mkdir(parents=True, exist_ok=True)
            name = f"replica-{index}"
            endpoint = self._children.data_endpoint(index)
            spec = ReplicaSpec(index, name, control, endpoint, harness.engine, arguments)
            write_spec(spec, folder / "spec.json")
            self._children.start(_REPLICA, name, folder / "spec.json", folder / "log.txt", environment)
        self._wait_until_ready(max(test.config.harness_config.engine_start_timeout_s for test in group))

    def _wait_until_ready(self, timeout_s: float) -> None:
        started = time.monotonic()
        names = self._children.names
        while len(self._ready) < len(names):
            self._turn()
            waited = time.monotonic() - started
            if waited > timeout_s:
                late = [name for name in names if name not in self._ready]
                raise EngineError(
                    f"{', '.join(late)}: not ready after {waited:.0f} s",
                    "Look at its log, or raise harness_config.engine_start_timeout_s.",
                )
        for name, ready in self._ready.items():
            folder = self._folder.path / "replicas" / name.removeprefix("replica-")
            write_json(folder / "facts.json", ready.facts)
        facts = next(iter(self._ready.values())).facts
        self._view.say(
            f"{len(names)} replica{'s' * (len(names) > 1)} of {facts['name']} {facts['version']} ready "
            f"after {time.monotonic() - started:.0f} s"
        )
        for name, change in facts["resolved"].get("changed_by_vllm", {}).items():
            self._view.say(
                f"note: llm_config.{name}: given {change['given']!r}, vLLM uses {change['resolved']!r}"
            )

    def _stop_replicas(self) -> None:
        self._children.end_all(in_good_order=self._ready.keys())
        self._ready.clear()
        self._stages.clear()

    # ------------------------------------------------------------------ tests

    def _run_test(self, plan: RunPlan, test: PlannedTest) -> None:
        folder = self._folder.test(test.name)
        harness = test.config.harness_config
        folder.begin(
            scenario=harness.scenario,
            mode=test.mode,
            loadgen_model=test.loadgen_model,
            target_qps=test.target_qps,
        )
        self._view.say(f"{test.name}: begins")
        self._children.silence_s = harness.silence_timeout_s
        self._done = None
        self._progress = TestProgress(
            name=test.name,
            expected=test.expected,
            target_qps=test.target_qps if harness.scenario.is_timed_per_token else None,
            ttft_limit_s=None if test.ttft_limit_ms is None else test.ttft_limit_ms / 1000,
            tpot_limit_s=None if test.tpot_limit_ms is None else test.tpot_limit_ms / 1000,
        )
        child = self._start_loadgen(plan, test, folder.path)
        try:
            while self._done is None:
                self._turn()
                self._check_progress(harness.stall_timeout_s)
            self._wait_for_end(child)
            check_written(folder.path)
        except BaseException as error:
            reason = error.message if isinstance(error, HarnessError) else "interrupted"
            folder.record(state="broken", reason=reason, finished_utc=utc_now())
            raise
        finally:
            self._children.end(child)
            self._progress = None
        folder.record(state="complete", finished_utc=utc_now(), **self._done)
        self._view.say(
            f"{test.name}: LoadGen ended after {self._done['seconds']:.1f} s, "
            f"{self._done['samples']:,} samples, {self._done['tokens']:,} tokens"
        )

    def _start_loadgen(self, plan: RunPlan, test: PlannedTest, folder: Path) -> Child:
        harness = test.config.harness_config
        shutil.copyfile(plan.user_conf, folder / "user.conf")
        audit = None
        if test.audit_conf is not None:
            audit = folder / "audit.config"
            audit.write_text(test.audit_conf)
        replicas = sorted(self._ready.items(), key=lambda pair: int(pair[0].removeprefix("replica-")))
        name = f"loadgen-{test.name}"
        spec = TestSpec(
            name=name,
            loadgen_model=test.loadgen_model,
            scenario=harness.scenario,
            mode=test.mode,
            folder=str(folder.resolve()),
            samples=str((self._folder.path / test.samples).resolve()),
            user_conf=str((folder / "user.conf").resolve()),
            audit_conf=None if audit is None else str(audit.resolve()),
            replicas=[ready.endpoint for _, ready in replicas],
            control=self._children.listen(harness.port),
            offline_backlog=harness.offline_backlog,
            silence_s=harness.silence_timeout_s,
        )
        write_spec(spec, folder / "spec.json")
        return self._children.start(_LOADGEN, name, folder / "spec.json", folder / "loadgen.log")

    def _check_progress(self, stall_s: float) -> None:
        """Refuse to wait on for an answer that an engine, or LoadGen, has lost though everybody lives."""
        if self._done is not None or self._progress is None or self._progress.quiet_s <= stall_s:
            return
        open_ = ", ".join(f"{name} {count}" for name, count in self._children.in_flight().items())
        raise EngineError(
            f"{self._progress.name}: nothing was asked, begun or answered for {stall_s:g} s, though every "
            f"process lives; {self._progress.done} of {self._progress.issued} queries are answered; "
            f"unfinished: {open_}",
            "Look at the logs of the replicas that have unfinished queries; where an answer may take longer, "
            "raise harness_config.stall_timeout_s.",
        )

    def _wait_for_end(self, child: Child) -> None:
        deadline = time.monotonic() + self._children.silence_s
        while child.exit_reason() is None:
            if time.monotonic() > deadline:
                raise LoadgenLost(
                    f"{child.name} did not end after its test; log {child.log}{child.log_tail()}"
                )
            self._turn()

    # ------------------------------------------------------------------ what children say

    def _turn(self) -> None:
        self._children.turn()
        self._view.tick(self._stage_text(), self._progress)

    def _take(self, name: str, message: ControlMessage) -> None:
        match message:
            case Progress():
                if self._progress is not None:
                    self._progress.update(message)
            case Ready():
                if message.version != PROTOCOL_VERSION:
                    raise ProtocolError(f"{name} speaks protocol {message.version}, not {PROTOCOL_VERSION}")
                self._ready[name] = message
                self._stages.pop(name, None)
            case Stage():
                if name.startswith("loadgen-") and self._progress is not None:
                    self._progress.stage = message.text
                else:
                    self._stages[name] = message.text
            case Done():
                self._done = message.report

    def _stage_text(self) -> str:
        if self._progress is not None:
            return self._progress.name
        waiting = [name for name in self._children.names if name not in self._ready]
        if waiting:
            stages = {self._stages.get(name, "starting") for name in waiting}
            return f"{len(waiting)} replica{'s' * (len(waiting) > 1)}: {', '.join(sorted(stages))}"
        return self._following or "between tests"
