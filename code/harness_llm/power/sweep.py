"""The power study: inference and training at several caps, or inference at several loads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, field_validator

from harness_llm import rules
from harness_llm.config.load import load_to_run
from harness_llm.driver.issuers import Schedule
from harness_llm.errors import ConfigError, HostError
from harness_llm.files import locked, write_atomically
from harness_llm.fleet.fleet import Fleet, FleetPlan
from harness_llm.fleet.loads import ChildWork, Load
from harness_llm.fleet.watch import Watch
from harness_llm.power import guard, trainer
from harness_llm.power.caps import Caps, NvmlCaps, SimulatedCaps, chosen_caps, refused, require_asked
from harness_llm.results.paths import SHARED_SAMPLES, SPEC_JSON
from harness_llm.results.reading import as_json
from harness_llm.run.prepare import Prepared, prepare
from harness_llm.study.points import Point, Setting, Study
from harness_llm.study.study_file import Seconds, SomeSeconds, Strict
from harness_llm.study.workloads import Closed, Workload, driver_test, make_schedule
from harness_llm.transport.spec import write_spec

INFERENCE, TRAINING = "inference", "training"
_LOADS = (8.0, 32.0, 128.0, 512.0)
_MARKER = "caps.json"
_LOCK = "harness-llm-power-caps.lock"  # of a host: caps are set on all of its cards
_SAME = "same"


def _refuse_a_second_study() -> NoReturn:
    raise HostError("another study sets power caps on this host", "Wait until it has ended.")


class TrainingConfig(Strict):
    """The training; see `TrainerSpec`. The model `same` is the checkpoint of the inference."""

    model: str = trainer.TINY
    text: Path | None = None
    steps: PositiveInt = 20
    warm_up: PositiveInt = 2
    batch: PositiveInt = 4
    sequence: Annotated[int, Field(ge=2)] = 64
    learning_rate: PositiveFloat = 5e-5


class PowerConfig(Strict):
    """The YAML file of a power study.

    Attributes:
        knob: What varies: `none`, one setting; `cap`, the cards' power cap; `load`, requests open at once.
        values: Caps, watts, or loads; empty: seven caps from the lowest to the highest and the default, or
            8, 32, 128 and 512 requests.
        phases: What is measured; None: both, and inference alone where the load varies.
        gpu: `auto`: the host's cards, if any; `simulated`: a simulated one.
        inference: Harness YAML file of the engine and its data; the load knob needs only those.
        workload: When requests are asked, by a driver; None: LoadGen asks, as the harness YAML file says.
        training: The training.
        trials: How often each setting is measured.
        trial_s: Length of an inference trial, seconds.
        settle_s: Pause after each setting, seconds.
        idle_s: For how long the power of idle cards is measured, seconds.
        seed: Of everything that is drawn.
    """

    knob: Literal["none", "cap", "load"] = "none"
    values: list[PositiveFloat] = []
    phases: Annotated[list[Literal["inference", "training"]], Field(min_length=1)] | None = None
    gpu: Literal["auto", "simulated"] = "auto"
    inference: Path | None = None
    workload: Workload | None = None
    training: TrainingConfig = TrainingConfig()
    trials: PositiveInt = 3
    trial_s: SomeSeconds = 60.0
    settle_s: Seconds = 2.0
    idle_s: Seconds = 10.0
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("values", "phases")
    @classmethod
    def _are_settings(cls, found: list[Any] | None) -> list[Any] | None:
        names = [it if isinstance(it, str) else f"{it:g}" for it in found or ()]
        if len(set(names)) < len(names):
            raise ValueError(f"each must be there once, found {', '.join(names)}")
        return found


class PowerStudy(Study):
    """See the module.

    Args:
        config: What was asked for.
        folder: The study's folder.
        set_caps: Whether the user asked that caps be set.

    Raises:
        ConfigError: It cannot be measured as asked; nothing was written to a card.
    """

    kind = "power"

    def __init__(self, config: PowerConfig, folder: Path, *, set_caps: bool = False) -> None:
        self._config, self._folder, self._set_caps = config, folder, set_caps
        default = [INFERENCE] if config.knob == "load" else [INFERENCE, TRAINING]
        self._phases: Sequence[str] = config.phases or default
        self.trials, self.seed = config.trials, config.seed
        self.settle_s, self.idle_s = config.settle_s, config.idle_s
        if config.knob == "none" and config.values:
            raise ConfigError(
                "values: nothing varies with knob: none", "Choose knob: cap or load, or --set values=[]."
            )
        if set_caps and config.knob != "cap":
            raise ConfigError(
                f"--set-caps does nothing with knob: {config.knob}", "Leave it out, or choose knob: cap."
            )
        if config.knob == "load" and TRAINING in self._phases:
            raise ConfigError("knob: load varies inference alone", "Remove training from phases.")
        if config.knob == "load" and config.workload is not None:
            raise ConfigError(
                "knob: load is a workload itself", "Remove workload, or choose knob: none or cap."
            )
        self._caps = self._open_caps()
        self._values = self._chosen()
        if INFERENCE in self._phases and config.inference is None:
            raise ConfigError(
                "inference is missing: which engine?", "Name a harness YAML file, or --set phases=[training]."
            )
        if TRAINING in self._phases:
            trainer.check_training(self._trained, config.training.text, config.training.sequence)
        inferred = self._prepared.marker if INFERENCE in self._phases else ""
        self.marker = rules.SIMULATED if config.gpu == "simulated" else inferred or "unofficial"
        self._workloads = {value: self._workload(value) for value in self._values}
        self._schedule: Schedule | None = None  # one for every value: the load changes only how many are open
        workload = self._workloads[self._values[0]]
        if INFERENCE in self._phases and workload is not None:
            self._schedule = make_schedule(workload, len(self._prepared.table), self.seed)

    # ------------------------------------------------------------------ what is asked

    def _open_caps(self) -> Caps | None:
        config = self._config
        if config.gpu == "simulated":
            return None  # made when the folder is there
        if config.knob != "cap":
            return None
        require_asked(self._set_caps)
        try:
            import pynvml

            marker = self._folder / _MARKER
            before = (
                msgspec.json.decode(marker.read_bytes(), type=dict[int, int]) if marker.exists() else None
            )
            caps = NvmlCaps(pynvml, set_caps=self._set_caps, before=before)
        except ImportError as error:
            raise ConfigError(
                "knob: cap needs nvidia-ml-py",
                "Install the extra cuda, or --set knob=load.",
            ) from error
        except pynvml.NVMLError as error:
            raise ConfigError(
                f"knob: cap needs a card: {error}", "Use --set gpu=simulated to try it without."
            ) from error
        if why := caps.refusal():
            raise refused(why)
        return caps

    def _chosen(self) -> list[float | None]:
        config = self._config
        if config.knob == "cap":
            possible = SimulatedCaps.RANGE if self._caps is None else self._caps.range()
            return list(chosen_caps(possible, config.values))
        if config.knob == "load":
            return list(config.values or _LOADS)
        return [None]

    def _workload(self, value: float | None) -> Workload | None:
        """When requests are asked at a value; None: LoadGen asks."""
        if self._config.knob != "load":
            return self._config.workload
        try:
            return Closed.model_validate({"concurrency": value, "duration_s": self._config.trial_s})
        except ValidationError as error:
            raise ConfigError(
                f"values: {value:g}: {error.errors()[0]['msg']}", "A load is how many requests are open."
            ) from error

    @cached_property
    def _prepared(self) -> Prepared:
        assert self._config.inference is not None
        return prepare([load_to_run(self._config.inference)], ("performance",))

    def asked(self) -> dict[str, Any]:
        """The configuration, what it chose, and the engine's identity."""
        asked = {**self._config.model_dump(mode="json"), "chosen": self._values, "marker": self.marker}
        return {**asked, "engine": self._prepared.identity if INFERENCE in self._phases else None}

    def points(self) -> Sequence[Point]:
        """Each value with each phase; training loads no engine, for it needs the memory."""
        knob, phases = self._config.knob, self._phases
        unit = {"cap": " W", "load": " open", "none": ""}[knob]
        return [
            Point(
                f"{phase}" if value is None else f"{value:g}{unit} {phase}",
                {"phase": phase, "knob": knob, "value": value},
                INFERENCE if phase == INFERENCE else "",
            )
            for value in self._values
            for phase in phases
        ]

    # ------------------------------------------------------------------ measuring

    def prepare(self, folder: Path) -> None:
        """Samples, and the simulated card where there is one."""
        if self._config.gpu == "simulated":
            self._caps = SimulatedCaps(folder)
        if INFERENCE in self._phases:
            self._prepared.table.save(folder / SHARED_SAMPLES)

    def fleets(self, engines: str) -> Sequence[FleetPlan]:
        """The replicas of the harness YAML file, slowed by the card where both are simulated."""
        plan = replace(self._prepared.groups[0].fleet, name=engines)
        if isinstance(self._caps, SimulatedCaps) and self._prepared.is_simulated:
            added = {"speed_file": str(self._caps.speed.resolve())}
            replicas = tuple(replace(it, arguments={**it.arguments, **added}) for it in plan.replicas)
            plan = replace(plan, replicas=replicas)
        return [plan]

    def samples(self, folder: Path, fleet: str) -> Path:
        """Those of the test."""
        return folder / SHARED_SAMPLES

    @contextmanager
    def beside(self, watch: Watch, folder: Path) -> Iterator[None]:
        """A sampler; and a guard before anything is set, which restores the caps however this ends."""
        caps = self._caps
        watch.sample(folder / "telemetry", caps.state if isinstance(caps, SimulatedCaps) else None)
        if not isinstance(caps, NvmlCaps):
            yield
            return
        with locked(Path(tempfile.gettempdir()) / _LOCK, _refuse_a_second_study):
            if not (folder / _MARKER).exists():
                caps.before = caps.now()  # nobody else sets them from here on
            caps.prove()
            caps.restore()  # writes only where an earlier study and its guard were killed together
            with self._guarded(caps, watch, folder):
                yield

    @contextmanager
    def _guarded(self, caps: NvmlCaps, watch: Watch, folder: Path) -> Iterator[None]:
        write_atomically(folder / _MARKER, as_json(caps.before))
        name = watch.children.free_name(guard.ROLE.kind)
        marker = str((folder / _MARKER).resolve())
        keys = watch.children.keys and watch.children.keys.for_client()
        spec = guard.GuardSpec(name, watch.children.control, caps.before, marker, keys)
        (folder / "guard").mkdir(exist_ok=True)
        write_spec(spec, folder / "guard" / SPEC_JSON)
        child = watch.children.start(
            guard.ROLE, name, folder / "guard" / SPEC_JSON, folder / "guard" / "guard.log"
        )
        while not child.has_spoken:
            watch.turn("the guard starts")
        try:
            yield
        finally:
            caps.restore()

    @contextmanager
    def at(self, point: Point, fleets: Mapping[str, Fleet], folder: Path) -> Iterator[Setting]:
        """Set the cap, if that is the knob; the caps are as before when it is over."""
        value, caps = point.settings["value"], self._caps
        read_back: dict[str, Any] = {}
        try:
            if self._config.knob == "cap":
                assert caps is not None and isinstance(value, float)
                read_back["cap_w"] = caps.set(value)
            if isinstance(caps, SimulatedCaps):
                load = value if self._config.knob == "load" else None
                caps.work(1.0 if not isinstance(load, float) else load / (load + 64))
            yield Setting([self._load(point, fleets, folder)], read_back)
        finally:
            if isinstance(caps, SimulatedCaps):
                caps.work(0.0)
            if caps is not None and self._config.knob == "cap":
                caps.restore()

    def _load(self, point: Point, fleets: Mapping[str, Fleet], folder: Path) -> Load:
        if point.settings["phase"] == TRAINING:
            work = ChildWork(trainer.ROLE, partial(self._training, folder / TRAINING))
            return Load(TRAINING, folder / TRAINING, work)
        fleet, samples = fleets[INFERENCE], self._folder / SHARED_SAMPLES
        value = point.settings["value"]
        assert value is None or isinstance(value, float)
        workload = self._workloads[value]
        if workload is not None and self._schedule is not None:
            path = folder / "schedule.npy"
            self._schedule.save(path)
            return Load(INFERENCE, folder / INFERENCE, driver_test(INFERENCE, workload, samples, path), fleet)
        milliseconds = round(self._config.trial_s * 1000)
        test = self._prepared.tests[0].with_samples(samples).with_setting("min_duration", milliseconds)
        return Load(INFERENCE, folder / INFERENCE, test, fleet)

    @property
    def _trained(self) -> str:
        model = self._config.training.model
        if model != _SAME:
            return model
        path = self._prepared.configs[0].model_path if self._config.inference else None
        if path is None:
            raise ConfigError(
                f"training.model: {_SAME}: the inference has no checkpoint", "Name another model to train."
            )
        return str(path)

    def _training(self, folder: Path, name: str, control: str) -> trainer.TrainerSpec:
        asked = {**self._config.training.model_dump(mode="json"), "model": self._trained}
        speed = str(self._caps.speed.resolve()) if isinstance(self._caps, SimulatedCaps) else None
        return trainer.TrainerSpec(
            name, control, str(folder.resolve()), seed=self.seed, speed_file=speed, **asked
        )
