"""One loop over every child of a command: fleets are loaded and measured under it, others run beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from harness_llm.fleet.beside import run_beside
from harness_llm.fleet.fleet import Fleet, FleetPlan
from harness_llm.fleet.live_recorder import LiveRecorder
from harness_llm.fleet.measurement import TestResult
from harness_llm.fleet.roles import TELEMETRY
from harness_llm.launch.child import Child
from harness_llm.launch.children import Children
from harness_llm.launch.launcher import Launcher
from harness_llm.launch.role import Role
from harness_llm.results.paths import SPEC_JSON, TELEMETRY_LOG
from harness_llm.system.others import Others
from harness_llm.transport.spec import LoadgenTest, TelemetrySpec, write_spec
from harness_llm.views.live import View
from harness_llm.views.progress import TestProgress


class Watch:
    """Watches all children of a command; every one is gone when the `with` block ends, however it ends.

    Args:
        view: Where to show how it goes.
        interface: Address or name of the network interface to listen on; None uses Unix sockets.
        port: First TCP port there: control takes it, replicas listen above it. None takes free ones.
        launcher: Starts the children; None for this host's.

    Attributes:
        view: Where it shows how it goes.
        children: The children.
        others: What processes of others hold of this host while loads are measured; None at other times.
    """

    def __init__(
        self,
        view: View,
        *,
        interface: str | None = None,
        port: int | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        self.view = view
        self.children = Children(interface, port, launcher)
        self.others: Others | None = None
        self._fleets: list[Fleet] = []
        self._told = 0
        self._recorder = LiveRecorder()

    def __enter__(self) -> Self:
        self.children.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.children.__exit__()

    def fleet(self, plan: FleetPlan, folder: Path, samples: Path | None = None) -> Fleet:
        """A fleet to load with `with`; several may be loaded at once.

        Args:
            plan: What to load.
            folder: Where each replica's files go, by its number.
            samples: Sample table of which a few are asked of each replica when it is loaded, so that a
                replica whose answers LoadGen would count wrongly is never measured; None asks nothing.
        """
        fleet = Fleet(self, plan, folder, samples)
        self._fleets.append(fleet)
        return fleet

    def child(
        self, role: Role, name: str, spec: Path, log: Path, environment: Mapping[str, str] | None = None
    ) -> Child:
        """Start any other child, e.g. a sampler or a trainer; it is watched, and ended with the rest.

        Args:
            role: What it is; its module finds the control plane, if it speaks, in its spec.
            name: What people call it.
            spec: Its spec file.
            log: Where stdout and stderr go; appended.
            environment: Variables added to this process's own.
        """
        return self.children.start(role, self.children.free_name(name), spec, log, environment)

    def sample(self, folder: Path, recording: Path | None = None) -> None:
        """Sample the accelerators from now on, in a process of its own; its loss is a warning.

        Args:
            folder: Where its spec and its log go; made.
            recording: File of readings to replay; None reads this host's accelerators.
        """
        folder.mkdir(parents=True, exist_ok=True)
        name, children = self.children.free_name(TELEMETRY.kind), self.children
        keys = children.keys and children.keys.for_client()
        source = None if recording is None else str(recording)
        write_spec(TelemetrySpec(name, children.control, source, keys), folder / SPEC_JSON)
        sampler = children.start(TELEMETRY, name, folder / SPEC_JSON, folder / TELEMETRY_LOG)
        self._recorder.sampled_by(sampler)

    def turn(self, stage: str = "between tests") -> None:
        """Hear the children, bring every running test on, show how it goes; takes up to 0.2 s.

        Args:
            stage: What happens now, where no test runs.

        Raises:
            RunBroken: An essential child was lost, or a test cannot continue.
        """
        self.children.turn()
        running = [fleet.running for fleet in self._fleets if fleet.running is not None]
        for fleet in self._fleets:
            fleet.step()
        losses = self.children.losses[self._told :]
        for loss in losses:
            self.view.say(f"note: the run continues without {loss.name}: {loss.reason}")
        self._told = len(self.children.losses)
        self._recorder.lost(losses)
        stage = ", ".join(measurement.test.name for measurement in running) or stage
        if self._recorder.is_due(stage) or any(measurement.is_over for measurement in running):
            self.view.tick(self._recorder.record(stage, running, self._fleets, self.others))

    def measure(
        self,
        loads: Sequence[tuple[Fleet, LoadgenTest, Path]],
        give_up: Callable[[TestProgress], str] | None = None,
    ) -> list[TestResult]:
        """Run tests at once, each on a fleet of its own, until all have ended.

        Args:
            loads: Fleet, test, and the folder for the test's files; of each fleet one.
            give_up: Asked several times a second, of each test, why to abandon it; an empty answer
                lets it run.

        Returns:
            What came of each, in the order given.

        Raises:
            RunBroken: A child was lost, or a test cannot continue; the folders of all say why.
        """
        try:
            running = {fleet: fleet.begin(test, folder) for fleet, test, folder in loads}
            while any(fleet.running is not None for fleet in running):
                self.turn()
                for fleet in running:
                    if give_up and fleet.running and (reason := give_up(fleet.running.progress)):
                        fleet.abandon(reason)
                        if any(other.running for other in running):  # whose figures it would disturb
                            fleet.free_engines()
        except BaseException as error:
            for fleet, _, _ in loads:
                fleet.break_off(error)
            raise
        return [measurement.result for measurement in running.values() if measurement.result is not None]

    def beside(self, work: Callable[[], None], stage: str) -> None:
        """Do `work` on a thread of its own while the children are watched; see `run_beside`.

        Args:
            work: Called once; what it raises is raised here.
            stage: What it is, for people.
        """
        run_beside(work, lambda: self.turn(stage))
