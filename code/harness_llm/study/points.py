"""What a kind of study says of itself: what varies, what is set for it, which figures follow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from harness_llm.fleet.fleet import Fleet, FleetPlan
from harness_llm.fleet.gate import Until
from harness_llm.fleet.loads import ARM_TIMEOUT_S, Load
from harness_llm.fleet.watch import Watch
from harness_llm.results.events import read_events
from harness_llm.results.paths import EVENTS_NPY, FACTS_JSON
from harness_llm.results.reading import read_record
from harness_llm.results.record_base import Record

TRIAL_JSON = "trial.json"
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Point:
    """One setting that is measured.

    Attributes:
        label: Its name, unique in the study; part of a folder's name.
        settings: What varies, by name.
        engines: Points of one key share loaded fleets; empty loads none.
    """

    label: str
    settings: Mapping[str, Scalar]
    engines: str = ""


class TrialRecord(Record, frozen=True, kw_only=True):
    """trial.json: written when a trial is over, so that one without it was not finished.

    Attributes:
        label: The point's.
        number: Which of its trials, from 1.
        settings: The point's.
        read_back: What devices said of what was set.
        order: Its place among the trials of the study that were measured, from 0.
        began_s: When its loads were started, monotonic seconds.
        ended_s: When the last of them was over.
        load_average: Of the host, before it.
        skew_ms: Between the moments at which the first and the last load started.
        loads: What each load's process knows of it, by name.
    """

    label: str
    number: int
    settings: dict[str, Scalar]
    read_back: dict[str, Scalar] = {}
    order: int = 0
    began_s: float = 0.0
    ended_s: float = 0.0
    load_average: float = 0.0
    skew_ms: float = 0.0
    loads: dict[str, dict[str, Any]] = {}

    @classmethod
    def blank(cls) -> Self:
        """A trial of nothing."""
        return cls(label="unknown", number=0, settings={})


@dataclass(frozen=True)
class Trial:
    """A trial that is over, as its files have it."""

    folder: Path
    record: TrialRecord

    def events(self, load: str, *, tail: bool = False) -> npt.NDArray[np.void]:
        """The measured rows of a load's events; with `tail` those, too, that only kept it busy afterwards."""
        report = self.record.loads[load]
        rows = read_events(self.folder / load / EVENTS_NPY)[int(report.get("warm_up", 0)) :]
        return rows if tail else rows[: int(report.get("measured", len(rows)))]

    def capacities(self, load: str) -> list[int]:
        """How many requests each replica of a load works on at once; of those whose engine says so."""
        files = self.folder.parents[1].glob(f"fleets/*/*/*/{FACTS_JSON}")
        own = [msgspec.json.decode(path.read_bytes()) for path in files if path.parents[1].name == load]
        return [facts["max_concurrent"] for facts in own if facts.get("max_concurrent")]


@dataclass(frozen=True)
class Setting:
    """What is measured at a point.

    Attributes:
        loads: Its loads.
        read_back: What devices said of what was set for it.
        until: When the loads are told to finish.
        arm_timeout_s: Longest time until all of them are ready to begin, seconds.
    """

    loads: Sequence[Load]
    read_back: Mapping[str, Scalar] = field(default_factory=dict)
    until: Until = "all"
    arm_timeout_s: float = ARM_TIMEOUT_S


class Study(ABC):
    """A kind of study; its reports are pure functions of the files that it leaves.

    Attributes:
        kind: Its name.
        marker: What stands beside every number; may be empty.
        trials: How often each point is measured.
        seed: Of everything that is drawn.
        settle_s: Pause after each setting, before it is measured, seconds.
        idle_s: How long nothing is done before engines are loaded, and again when they are, seconds.
    """

    kind: str
    marker: str = ""
    trials: int = 3
    seed: int = 0
    settle_s: float = 0.0
    idle_s: float = 0.0

    @abstractmethod
    def asked(self) -> dict[str, Any]:
        """What was asked for, JSON-able; a study is continued only with equal ones."""

    @abstractmethod
    def points(self) -> Sequence[Point]:
        """What is measured."""

    @abstractmethod
    def prepare(self, folder: Path) -> None:
        """Write what loads need, such as samples; called each time before anything is started."""

    @abstractmethod
    def fleets(self, engines: str) -> Sequence[FleetPlan]:
        """What is loaded for the points of a key."""

    def samples(self, folder: Path, fleet: str) -> Path | None:
        """Sample table of which a fleet is asked a few when it is loaded; None asks nothing."""
        return None

    @contextmanager
    def beside(self, watch: Watch, folder: Path) -> Iterator[None]:
        """What lives beside the fleets for the length of the study, such as a sampler."""
        watch.sample(folder / "telemetry")
        yield

    @contextmanager
    @abstractmethod
    def at(self, point: Point, fleets: Mapping[str, Fleet], folder: Path) -> Iterator[Setting]:
        """Set what the point says, give the loads to measure into `folder`, and undo it."""


def trials_of(folder: Path) -> list[Trial]:
    """The trials of a study folder that are over, in the order in which they were measured."""
    found = [
        Trial(path.parent, read_record(path, TrialRecord))
        for path in folder.glob(f"trials/*/{TRIAL_JSON}")
        if ".broken-" not in path.parent.name
    ]
    return sorted(found, key=lambda trial: trial.record.order)  # a monotonic clock restarts at boot
