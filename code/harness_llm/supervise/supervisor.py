"""The supervisor: starts replicas, runs one loadgen process a test, watches all of them, ends all of them."""

from __future__ import annotations

import logging
import shutil
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import zmq

from harness_llm import errors
from harness_llm.errors import EngineError, HarnessError, LoadgenLost, ProtocolError, ReplicaLost
from harness_llm.supervise.devices import replica_environments
from harness_llm.supervise.folder import utc_now, write_json
from harness_llm.supervise.launcher import end_all, start_child
from harness_llm.supervise.progress import TestProgress
from harness_llm.transport.control import ControlServer
from harness_llm.transport.spec import ReplicaSpec, TestSpec, write_spec
from harness_llm.transport.wire import PROTOCOL_VERSION, Done, Failed, Progress, Ready, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_llm.config.model import RunConfig
    from harness_llm.supervise.folder import RunFolder, TestFolder
    from harness_llm.supervise.launcher import Child
    from harness_llm.supervise.plan import PlannedTest, RunPlan
    from harness_llm.supervise.view import View
    from harness_llm.transport.wire import ControlMessage

__all__ = ["Supervisor"]

_log = logging.getLogger(__name__)
_POLL_MS = 200
_FIRST_WORD_S = 60.0  # a child imports before it speaks
_GRACE_S = 5.0


class Supervisor:
    """Runs the tests of a plan; every child is gone when the `with` block ends, however it ends.

    Args:
        folder: The run's folder, held.
        view: Where to show how it goes.
    """

    def __init__(self, folder: RunFolder, view: View) -> None:
        self._folder = folder
        self._view = view
        self._children: dict[str, Child] = {}
        self._ready: dict[str, Ready] = {}
        self._stages: dict[str, str] = {}
        self._progress: TestProgress | None = None
        self._done: dict[str, Any] | None = None
        self._control: ControlServer | None = None
        self._following = ""
        self._silence_s = 0.0

    def __enter__(self) -> Self:
        self._sockets = Path(tempfile.mkdtemp(prefix="harness-llm-"))
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_all()
        if self._control is not None:
            self._control.close()
        self._context.destroy(linger=0)
        shutil.rmtree(self._sockets, ignore_errors=True)

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
                self._start_replicas(group[0].config)
            for test in group:
                folder = self._folder.test(test.name)
                if not folder.is_complete:
                    self._run_test(plan, test)
                if not folder.is_followed_up:
                    self._follow_up(folder, after_test)
            self._stop_all()

    def _follow_up(self, folder: TestFolder, after_test: Callable[[Path], None]) -> None:
        self._following = f"{folder.path.parent.name}/{folder.path.name}: scoring"
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(after_test, folder.path)
            while not future.done():
                self._turn()
        self._following = ""
        future.result()
        folder.record(followed_up=True)

    # ------------------------------------------------------------------ replicas

    def _start_replicas(self, config: RunConfig) -> None:
        harness = config.harness_config
        self._silence_s = harness.silence_timeout_s
        port = harness.port
        endpoint = f"ipc://{self._sockets}/control" if port is None else f"tcp://127.0.0.1:{port}"
        if self._control is None:  # one for all groups: ZeroMQ lets a closed port go only after a while
            self._control = ControlServer(self._context, endpoint)
        arguments = harness.simulated.model_dump() if harness.engine == "simulated" else config.llm_config
        for index, environment in enumerate(replica_environments(config)):
            folder = self._folder.path / "replicas" / str(index)
            folder.mkdir(parents=True, exist_ok=True)
            name = f"replica-{index}"
            listen = (
                f"ipc://{self._sockets}/{name}" if port is None else f"tcp://127.0.0.1:{port + 1 + index}"
            )
            spec = ReplicaSpec(index, name, self._control.endpoint, listen, harness.engine, arguments)
            write_spec(spec, folder / "spec.json")
            self._children[name] = start_child(
                "harness_llm.replica.process", name, folder / "spec.json", folder / "log.txt", environment
            )
        self._wait_until_ready(harness.engine_start_timeout_s)

    def _wait_until_ready(self, timeout_s: float) -> None:
        started = time.monotonic()
        names = list(self._children)
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

    # ------------------------------------------------------------------ tests

    def _run_test(self, plan: RunPlan, test: PlannedTest) -> None:
        folder = self._folder.test(test.name)
        folder.begin(
            scenario=test.config.harness_config.scenario,
            mode=test.mode,
            loadgen_model=test.loadgen_model,
            target_qps=test.target_qps,
        )
        self._view.say(f"{test.name}: begins")
        self._done = None
        self._progress = TestProgress(
            name=test.name,
            expected=test.expected,
            target_qps=test.target_qps if test.config.harness_config.scenario.is_timed_per_token else None,
            ttft_limit_s=None if test.ttft_limit_ms is None else test.ttft_limit_ms / 1000,
            tpot_limit_s=None if test.tpot_limit_ms is None else test.tpot_limit_ms / 1000,
        )
        child = self._start_loadgen(plan, test, folder.path)
        try:
            while self._done is None:
                self._turn()
            self._wait_for_end(child)
        except BaseException as error:
            reason = error.message if isinstance(error, HarnessError) else "interrupted"
            folder.record(state="broken", reason=reason, finished_utc=utc_now())
            raise
        finally:
            end_all([child], 0)
            del self._children[child.name]
            self._progress = None
        folder.record(state="complete", finished_utc=utc_now(), **self._done)
        self._view.say(
            f"{test.name}: LoadGen ended after {self._done['seconds']:.1f} s, "
            f"{self._done['samples']:,} samples, {self._done['tokens']:,} tokens"
        )

    def _start_loadgen(self, plan: RunPlan, test: PlannedTest, folder: Path) -> Child:
        shutil.copyfile(plan.user_conf, folder / "user.conf")
        audit = None
        if test.audit_conf is not None:
            audit = folder / "audit.config"
            audit.write_text(test.audit_conf)
        assert self._control is not None
        replicas = sorted(self._ready.items(), key=lambda pair: int(pair[0].removeprefix("replica-")))
        name = f"loadgen-{test.name}"
        spec = TestSpec(
            name=name,
            loadgen_model=test.loadgen_model,
            scenario=test.config.harness_config.scenario,
            mode=test.mode,
            folder=str(folder.resolve()),
            samples=str(plan.samples.resolve()),
            user_conf=str((folder / "user.conf").resolve()),
            audit_conf=None if audit is None else str(audit.resolve()),
            replicas=[ready.endpoint for _, ready in replicas],
            control=self._control.endpoint,
            offline_backlog=test.config.harness_config.offline_backlog,
        )
        write_spec(spec, folder / "spec.json")
        child = start_child(
            "harness_llm.loadgen.process", name, folder / "spec.json", folder / "loadgen.log", {}
        )
        self._children[name] = child
        return child

    def _wait_for_end(self, child: Child) -> None:
        deadline = time.monotonic() + self._silence_s
        while child.exit_reason() is None:
            if time.monotonic() > deadline:
                raise LoadgenLost(
                    f"{child.name} did not end after its test; log {child.log}{child.log_tail()}"
                )
            self._turn(expected_to_end=child.name)

    # ------------------------------------------------------------------ watching

    def _turn(self, expected_to_end: str = "") -> None:
        """Hear what came, look whether everybody lives, show it."""
        self._hear(_POLL_MS)
        for child in list(self._children.values()):
            if child.name != expected_to_end:
                self._check(child)
        self._view.tick(self._stage_text(), self._progress)

    def _hear(self, timeout_ms: int) -> None:
        if self._control is None:  # nothing was started: every test was complete before
            time.sleep(timeout_ms / 1000)
            return
        for name, message in self._control.receive(timeout_ms):
            if name in self._children:
                self._children[name].hear()
                self._take(name, message)

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
            case Failed():
                raise _error_of(name, message, self._children[name])

    def _check(self, child: Child) -> None:
        lost = LoadgenLost if child.name.startswith("loadgen-") else ReplicaLost
        reason = child.exit_reason()
        if reason is not None:
            if lost is LoadgenLost and self._done is not None:
                return
            self._hear(0)  # its last words may have come meanwhile
            if lost is LoadgenLost and self._done is not None:
                return
            child.signal_group(signal.SIGKILL)  # what it started must not go on
            raise lost(f"{child.name} {reason}; log {child.log}{child.log_tail()}")
        silent = time.monotonic() - child.last_heard
        if silent > (self._silence_s if child.has_spoken else _FIRST_WORD_S):
            child.signal_group(signal.SIGKILL)  # it would not hear a request to stop
            raise lost(f"{child.name} has been silent for {silent:.1f} s; log {child.log}{child.log_tail()}")

    def _stage_text(self) -> str:
        if self._progress is not None:
            return self._progress.name
        waiting = [name for name in self._children if name not in self._ready]
        if waiting:
            stages = {self._stages.get(name, "starting") for name in waiting}
            return f"{len(waiting)} replica{'s' * (len(waiting) > 1)}: {', '.join(sorted(stages))}"
        return self._following or "between tests"

    def _stop_all(self) -> None:
        for name in self._children:
            if name in self._ready and self._control is not None:
                self._control.shut_down(name)
        unready = [child for name, child in self._children.items() if name not in self._ready]
        end_all(unready, 0)
        end_all([child for name, child in self._children.items() if name in self._ready], _GRACE_S)
        self._children.clear()
        self._ready.clear()
        self._stages.clear()


def _error_of(name: str, message: Failed, child: Child) -> HarnessError:
    kind = getattr(errors, message.kind, EngineError)
    return kind(f"{name}: {message.message}\n  log: {child.log}", message.remedy)
