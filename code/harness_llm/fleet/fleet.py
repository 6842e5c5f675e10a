"""The engines of one group: loaded once, measured again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness_llm.core import counted
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import EngineError
from harness_llm.files import write_atomically
from harness_llm.fleet.loading import SILENCE_S, Loading
from harness_llm.fleet.measurement import Measurement, TestResult
from harness_llm.fleet.preflight import COLD_S, Question, preflight, told
from harness_llm.fleet.release import release
from harness_llm.fleet.roles import REPLICA
from harness_llm.launch.child import Child
from harness_llm.launch.open_files import require_open_files
from harness_llm.results.observed import PreflightRecord
from harness_llm.results.paths import FACTS_JSON, PREFLIGHT_NPY, REPLICA_LOG, SPEC_JSON
from harness_llm.results.reading import as_json
from harness_llm.transport.spec import LoadgenTest, ReplicaSpec, write_spec
from harness_llm.views.progress import TestProgress

if TYPE_CHECKING:  # a watch makes fleets, and a fleet turns with its watch
    from harness_llm.fleet.watch import Watch

_SHOWN = 4  # processes of others


@dataclass(frozen=True)
class ReplicaPlan:
    """One engine instance.

    Attributes:
        engine: The engine's kind, e.g. `vllm`.
        arguments: The engine's own arguments.
        environment: Variables of its process: its devices or cores, and what the user sets.
    """

    engine: str
    arguments: Mapping[str, Any]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class FleetPlan:
    """The replicas that tests are measured on together.

    Attributes:
        name: What people call it; part of its replicas' names, and what test.json calls its engines.
        replicas: Each by its number.
        start_timeout_s: Longest time until all are ready, seconds.
        silence_timeout_s: A replica that is silent for longer between its tests is lost, seconds; while it
            loads, it may be for `loading.SILENCE_S`, too.
        stall_timeout_s: A replica that is asked a few samples before its first test and answers nothing for
            longer is lost, seconds; None leaves it the time that a cold engine may take, as its first answer
            always has.
        end_tokens: Tokens that end an answer; empty where nobody says.
        may_repeat: Whether an answer may repeat a single token, as those of made-up weights do.
        loads_beside: Whether it may load while others do; an engine that takes what memory is free may not.
    """

    name: str
    replicas: tuple[ReplicaPlan, ...]
    start_timeout_s: float = 1800.0
    silence_timeout_s: float = 8.0
    stall_timeout_s: float | None = None
    end_tokens: frozenset[int] = frozenset()
    may_repeat: bool = False
    loads_beside: bool = False


class Fleet:
    """Loads the replicas of a plan for the length of a `with` block; `Watch.fleet` makes it.

    Args:
        watch: Who watches its processes.
        plan: What to load.
        folder: Where each replica's files go, by its number.
        samples: Sample table of which a few are asked of each replica when it is loaded; None asks nothing.

    Attributes:
        plan: What is loaded.
        preflight: What came of that; None where nothing was asked.
        replicas: The replicas' processes, by number; empty while nothing is loaded.
        running: The test that runs now.
    """

    def __init__(self, watch: Watch, plan: FleetPlan, folder: Path, samples: Path | None = None) -> None:
        self.plan = plan
        self.preflight: PreflightRecord | None = None
        self.replicas: list[Child] = []
        self.running: Measurement | None = None
        self._is_to_free = False
        self._watch = watch
        self._folder = folder
        self._samples = samples
        self._began_s = 0.0

    def __enter__(self) -> Self:
        try:
            self._load()
        except BaseException:
            self._unload()
            raise
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        self.break_off(error)
        self._unload()

    @property
    def endpoints(self) -> list[str]:
        """Where each replica listens, by its own word."""
        return [child.ready.endpoint for child in self.replicas if child.ready is not None]

    @property
    def facts(self) -> list[Mapping[str, Any]]:
        """What each engine says of itself."""
        return [child.ready.facts for child in self.replicas if child.ready is not None]

    # ------------------------------------------------------------------ loading

    def start(self) -> None:
        """Start the replicas and return at once; `with` waits until they are loaded, and starts them else."""
        watch, plan = self._watch, self.plan
        require_open_files(len(plan.replicas))
        kinds = ", ".join(dict.fromkeys(replica.engine for replica in plan.replicas))
        watch.view.say(f"{_count(plan)} of {kinds} starting; log: {self._folder}/*/log.txt")
        if others := watch.children.launcher.strangers(REPLICA):
            watch.view.say(
                f"note: another run is on this host (process ids {_first(others)}); "
                "what shares a device or a core is measured slower"
            )
        self._began_s = watch.children.clock.look()
        listen = watch.children.place_to_listen(len(plan.replicas))
        for number, replica in enumerate(plan.replicas):
            self.replicas.append(self._start(number, replica, listen))

    def _load(self) -> None:
        if not self.replicas:
            self.start()
        self._wait_until_ready(self._began_s)
        self._tell(self._watch.children.clock.now_s - self._began_s)
        self._preflight(self.replicas)

    def _preflight(self, replicas: Sequence[Child]) -> None:
        """Ask these replicas what a test will ask them, and look at the answers; see `preflight`."""
        if self._samples is None:
            return
        watch, names = self._watch, [child.name for child in replicas]
        endpoints = [child.ready.endpoint for child in replicas if child.ready is not None]
        question = Question.of(
            SampleTable.load(self._samples), self.plan.end_tokens, may_repeat=self.plan.may_repeat
        )
        keys = watch.children.keys and watch.children.keys.for_client()

        def work() -> None:
            self.preflight = preflight(
                endpoints,
                names,
                question,
                self._folder / PREFLIGHT_NPY,
                self.plan.silence_timeout_s,
                patience_s=self.plan.stall_timeout_s or COLD_S,
                keys=keys,
            )

        watch.beside(work, "asking each replica a few samples")
        assert self.preflight is not None
        watch.view.say(told(self.preflight))

    def _unload(self) -> None:
        self._watch.children.end(*self.replicas)
        self.replicas = []

    def _start(self, number: int, plan: ReplicaPlan, listen: str) -> Child:
        children = self._watch.children
        folder = self._folder / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        name = children.free_name(f"{self.plan.name}/replica-{number}")
        secrets = write_spec(
            ReplicaSpec(name, children.control, listen, plan.engine, dict(plan.arguments), children.keys),
            folder / SPEC_JSON,
        )
        environment = {**plan.environment, **secrets}
        child = children.start(REPLICA, name, folder / SPEC_JSON, folder / REPLICA_LOG, environment)
        child.silence_s = max(self.plan.silence_timeout_s, SILENCE_S)
        return child

    def _replace_lost(self) -> None:
        """Load the replicas again that a test went on without: the next one is measured on all of them."""
        children = self._watch.children
        lost = [number for number, child in enumerate(self.replicas) if child.is_lost]
        if not lost:
            return
        self._watch.view.say(f"{', '.join(self.replicas[number].name for number in lost)}: loaded again")
        began = children.clock.look()
        listen = children.place_to_listen(len(lost))
        for number in lost:
            self.replicas[number] = self._start(number, self.plan.replicas[number], listen)
        self._wait_until_ready(began)
        self._preflight([self.replicas[number] for number in lost])

    def _wait_until_ready(self, began_s: float) -> None:
        clock = self._watch.children.clock
        loading = {child.name: Loading(child, clock.now_s) for child in self.replicas if not child.is_started}
        while late := [child for child in self.replicas if not child.is_started]:
            stages = sorted({child.stage or "starting" for child in late})
            self._watch.turn(f"{_count(late)}: {', '.join(stages)}")
            for child in late:
                if problem := loading[child.name].problem(clock.now_s):
                    self._watch.children.give_up(child, problem, "Its log may say more.")
            waited = clock.now_s - began_s
            if waited > self.plan.start_timeout_s:
                raise EngineError(
                    f"{', '.join(child.name for child in late)}: not ready after {waited:.0f} s",
                    "Look at its log, or raise harness_config.engine_start_timeout_s.",
                )
        for number, child in enumerate(self.replicas):
            child.silence_s = self.plan.silence_timeout_s
            write_atomically(self._folder / str(number) / FACTS_JSON, as_json(self.facts[number]))

    def _tell(self, seconds: float) -> None:
        view, facts = self._watch.view, self.facts[0]
        view.say(f"{_count(self.replicas)} of {facts['name']} {facts['version']} ready after {seconds:.0f} s")
        if hosts := sorted({child.handle.host for child in self.replicas} - {""}):
            view.say(f"note: replicas run on {', '.join(hosts)}")
        for key, change in facts.get("changed", {}).items():
            given, used = change["given"], change["resolved"]
            view.say(f"note: llm_config.{key}: given {given!r}, {facts['name']} uses {used!r}")

    # ------------------------------------------------------------------ measuring

    def measure(
        self, test: LoadgenTest, folder: Path, give_up: Callable[[TestProgress], str] | None = None
    ) -> TestResult:
        """Run one test to its end on the loaded replicas; call it as often as you like.

        Args:
            test: What to run; its samples must be a file.
            folder: Where its files go; anything already there is moved aside, not overwritten.
            give_up: Asked several times a second why to abandon the test; an empty answer lets it run.

        Raises:
            RunBroken: A child was lost, or the test cannot continue; its folder says why.
        """
        return self._watch.measure([(self, test, folder)], give_up)[0]

    def begin(self, test: LoadgenTest, folder: Path) -> Measurement:
        """Start a test and return at once; each `Watch.turn` brings it on."""
        assert self.replicas and self.running is None, "a fleet that is loaded runs one test at a time"
        self.free_engines()
        self._replace_lost()
        self._watch.view.say(f"{test.name}: begins")
        self.running = Measurement(self._watch.children, self.plan.name, self.replicas, test, folder)
        return self.running

    def step(self) -> None:
        """Bring the running test on, if there is one; `Watch.turn` calls it.

        Raises:
            RunBroken: The test cannot continue.
        """
        if self.running is None:
            return
        self.running.step()
        result = self.running.result
        if result is not None:
            self.running = None
            self._watch.view.say(
                f"{result.test.name}: LoadGen ended after {result.report['seconds']:.1f} s, "
                f"{result.report['samples']:,} samples, {result.report['tokens']:,} tokens"
            )

    def abandon(self, reason: str) -> TestResult:
        """Give up the running test; engines keep working on it until `free_engines` or the next test."""
        assert self.running is not None
        given_up, self.running = self.running, None
        given_up.abandon(reason)
        assert given_up.result is not None
        self._watch.view.say(f"{given_up.test.name}: abandoned: {reason}")
        self._is_to_free = True
        return given_up.result

    def free_engines(self) -> None:
        """Wait until no engine is still working on an abandoned test; returns at once if there is none.

        Raises:
            RunBroken: A child was lost meanwhile, or an engine did not stop working on it.
        """
        if self._is_to_free:
            living = [child.ready.endpoint for child in self.replicas if child.ready and not child.is_lost]
            children = self._watch.children
            release(children.context, living, lambda: self._watch.turn("freeing replicas"), children.keys)
            self._is_to_free = False

    def break_off(self, error: BaseException | None) -> None:
        """End the running test, if there is one, because of `error`; None for an end from outside."""
        if self.running is not None:
            broken, self.running = self.running, None
            broken.break_off(error)


def _first(numbers: Sequence[int]) -> str:
    more = len(numbers) - _SHOWN
    return ", ".join(map(str, numbers[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _count(replicas: FleetPlan | list[Child]) -> str:
    count = len(replicas.replicas if isinstance(replicas, FleetPlan) else replicas)
    return counted(count, "replica")
