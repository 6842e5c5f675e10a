"""Loads that are measured together through the start gate: drivers, other children, and LoadGen tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from harness_llm.core import NANOSECONDS_PER_SECOND, counted
from harness_llm.errors import EngineError, RunBroken
from harness_llm.fleet.fleet import Fleet
from harness_llm.fleet.gate import LEAD_S, Gate, Until
from harness_llm.fleet.measurement import Measurement
from harness_llm.fleet.pace import Pace
from harness_llm.fleet.roles import DRIVER
from harness_llm.fleet.watch import Watch
from harness_llm.launch.child import Child
from harness_llm.launch.role import Role
from harness_llm.results.held import set_aside
from harness_llm.results.paths import SPEC_JSON
from harness_llm.system.others import Others
from harness_llm.transport.spec import DriverSpec, DriverTest, LoadgenTest, write_spec
from harness_llm.transport.wire import Finish, Go

ARM_TIMEOUT_S = 120.0
_RUNS = "LoadGen runs"


@dataclass(frozen=True)
class ChildWork:
    """Work of a child that passes the gate and asks no engine, e.g. a training.

    Attributes:
        role: What is started.
        spec: Makes its spec, of its name on the control plane and of where the supervisor listens.
        environment: Variables added to this process's own.
    """

    role: Role
    spec: Callable[[str, str], msgspec.Struct]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """One load of a measurement.

    Attributes:
        name: Its name for people, unique in the measurement.
        folder: Where its files go; anything already there is moved aside, not overwritten.
        test: What it does.
        fleet: The engines that it asks; None for a `ChildWork`.
    """

    name: str
    folder: Path
    test: DriverTest | LoadgenTest | ChildWork
    fleet: Fleet | None = None


@dataclass(frozen=True)
class LoadResult:
    """What came of a load: `report` is what its process knows of it."""

    name: str
    folder: Path
    report: Mapping[str, Any]


def measure_loads(
    watch: Watch, loads: Sequence[Load], *, until: Until = "all", arm_timeout_s: float = ARM_TIMEOUT_S
) -> list[LoadResult]:
    """Measure loads at once: they start together, and each keeps running until all have been measured.

    A LoadGen test has no gate: it is begun when the others are armed, and they begin when it runs; it cannot
    be prolonged.

    Raises:
        RunBroken: A load was lost, was not armed in time, or cannot continue; none of them runs any more.
    """
    measuring = _Measuring(watch, loads, until, arm_timeout_s)
    watch.others = Others()
    try:
        while not measuring.step():
            watch.others.look()
            watch.turn(measuring.stage)
    except BaseException as error:
        for load in loads:
            if load.fleet is not None:
                load.fleet.break_off(error)
        raise
    finally:
        watch.others = None
        watch.children.end(*measuring.children.values())
    return measuring.results()


class _Measuring:
    """The loads of one measurement while they run."""

    def __init__(self, watch: Watch, loads: Sequence[Load], until: Until, arm_timeout_s: float) -> None:
        self._watch = watch
        self._loads = {load.name: load for load in loads}
        assert len(self._loads) == len(loads), "two loads of one name"
        self._clock = watch.children.clock
        self._gate = Gate(self._loads, until, arm_timeout_s, self._clock.now_s)
        self._tests = {load.name: load for load in loads if isinstance(load.test, LoadgenTest)}
        self._running: dict[str, Measurement] = {}
        self._paces: dict[str, tuple[Child, Pace]] = {}
        self.children = {load.name: self._start(load) for load in loads if load.name not in self._tests}
        self.stage = "loads are getting ready"

    def _start(self, load: Load) -> Child:
        children = self._watch.children
        set_aside(load.folder)
        load.folder.mkdir(parents=True)
        test = load.test
        if isinstance(test, ChildWork):
            role, environment = test.role, test.environment
            name = children.free_name(f"{role.kind}-{load.name}")
            spec = test.spec(name, children.control)
        else:
            assert isinstance(test, DriverTest) and load.fleet is not None
            role, environment = DRIVER, {}
            name = children.free_name(f"{role.kind}-{load.name}")
            keys = children.keys and children.keys.for_client()
            folder = str(load.folder.resolve())
            spec = DriverSpec(name, children.control, load.fleet.endpoints, folder, test, keys)
            for replica in load.fleet.replicas:
                self._paces[replica.name] = replica, Pace(test.stall_timeout_s)
        path = load.folder / SPEC_JSON
        write_spec(spec, path)
        return children.start(role, name, path, load.folder / f"{role.kind}.log", environment)

    def step(self) -> bool:
        """Hear the loads and tell them what the gate says; whether all are over."""
        for name, child in self.children.items():
            if child.is_armed:
                self._gate.armed(name)
            if child.is_measured or child.report is not None:
                self._gate.measured(name)
        self._step_tests()
        now_s = self._clock.now_s
        if late := self._gate.late(now_s):
            stages = {name: self.children[name].stage for name in late if name in self.children}
            said = ", ".join(f"{name} ({stages.get(name) or 'starting'})" for name in late)
            raise RunBroken(f"not ready to begin in time: {said}", "Look at its log, or allow more time.")
        match self._gate.next(now_s):
            case "go":
                self.stage = "measuring"
                lead = 0 if len(self._loads) == 1 else round(LEAD_S * NANOSECONDS_PER_SECOND)
                self._tell(Go(time.monotonic_ns() + lead if lead else 0))
            case "finish":
                self.stage = "ending"
                self._tell(Finish())
        self._check_paces(now_s)
        is_over = all(child.report is not None for child in self.children.values())
        return is_over and all(name in self._running for name in self._tests) and not self._open_tests()

    def _tell(self, message: Go | Finish) -> None:
        for child in self.children.values():
            if child.report is None:
                self._watch.children.tell(child, message)

    def _step_tests(self) -> None:
        """Begin LoadGen tests when all others are armed; one that runs counts as armed."""
        are_armed = all(child.is_armed for child in self.children.values())
        if self._tests and not self._running and are_armed:
            for name, load in self._tests.items():
                assert load.fleet is not None and isinstance(load.test, LoadgenTest)
                self._running[name] = load.fleet.begin(load.test, load.folder)
        for name, measurement in self._running.items():
            if measurement.progress.stage == _RUNS or measurement.result is not None:
                self._gate.armed(name)
            if measurement.result is not None:
                self._gate.measured(name)

    def _open_tests(self) -> bool:
        return any(measurement.result is None for measurement in self._running.values())

    def _check_paces(self, now_s: float) -> None:
        for name, (replica, pace) in self._paces.items():
            heartbeat = replica.heartbeat
            stalled_s = pace.hear(heartbeat, now_s)
            if stalled_s is not None:
                raise EngineError(
                    f"{name} has generated nothing for {stalled_s:.0f} s, "
                    f"though it lives: {counted(heartbeat.in_flight, 'request')} in flight",
                    "Look at its log and its device.",
                )

    def results(self) -> list[LoadResult]:
        """What came of each load, in their order."""
        reports = {name: child.report or {} for name, child in self.children.items()}
        reports |= {name: it.result.report for name, it in self._running.items() if it.result}
        return [LoadResult(name, load.folder, reports[name]) for name, load in self._loads.items()]
