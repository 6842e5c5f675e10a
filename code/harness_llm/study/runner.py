"""Measures a study into its folder: engines are loaded once, trials come in random blocks."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np

from harness_llm import ending
from harness_llm.errors import FolderError, HarnessError
from harness_llm.files import write_atomically
from harness_llm.fleet.fleet import Fleet
from harness_llm.fleet.loads import LoadResult, measure_loads
from harness_llm.fleet.roles import TELEMETRY
from harness_llm.fleet.watch import Watch
from harness_llm.results.held import set_aside, utc_now
from harness_llm.results.live_file import LiveFile
from harness_llm.results.live_records import LiveRecord
from harness_llm.results.paths import STUDY_JSON
from harness_llm.results.reading import as_json, write_record
from harness_llm.results.study_folder import PointRecord, StudyFolder, StudyRecord
from harness_llm.study.points import TRIAL_JSON, Point, Study, TrialRecord
from harness_llm.system import provenance
from harness_llm.views.live import View
from harness_llm.views.telling import ToldRun

ASKED_JSON = "asked.json"
IDLE_JSON = "idle.json"
_FIRST_READING_S = 30.0  # to wait for one of the accelerators, once for all trials
_LAST_READING_S = 3.0  # to wait for one after a window's end, which brackets it


def run_study(study: Study, output: Path, view: View) -> None:
    """Measure what is left of a study.

    Args:
        study: What to measure.
        output: Its folder; new, or one of the same study that did not finish.
        view: Where to show how it goes.

    Raises:
        FolderError: The folder is in use, or of another study.
        RunBroken: A load or an engine was lost; what was measured stays, and the study can be continued.
    """
    seen = _Seen()
    with ending.clean_up(), StudyFolder(output) as folder, ToldRun(view, [LiveFile(output), seen]) as told:
        _refuse_another(folder, study)
        folder.begin(_record(study))
        try:
            study.prepare(output)
            _Runner(study, output, told, seen).run()
        except HarnessError as error:
            folder.finish("broken", error.message)
            raise
        except BaseException as error:
            folder.finish("interrupted", type(error).__name__)
            raise
        folder.finish("complete")


def _record(study: Study) -> StudyRecord:
    points = tuple(
        PointRecord(label=_label(point, number), settings=dict(point.settings))
        for point in study.points()
        for number in range(1, study.trials + 1)
    )
    return StudyRecord(
        kind=study.kind, seed=study.seed, points=points, command=tuple(provenance.command()),
        versions=provenance.packages(), state="running", started_utc=utc_now(),
    )  # fmt: skip


def _label(point: Point, number: int) -> str:
    return f"{point.label} #{number}"


def require_kind(folder: StudyFolder, kind: str) -> None:
    """Refuse a study of another kind; a folder without one is none of them.

    Raises:
        FolderError: It holds a study of another kind.
    """
    if (record := folder.record()) is not None and record.kind != kind:
        raise FolderError(
            f"{folder.path}: holds a study of another kind, {record.kind}", "Choose another folder."
        )


def require_study(path: Path, kind: str) -> None:
    """Refuse a folder that no study of a kind was measured into.

    Raises:
        FolderError: It is none, or holds none or one of another kind.
    """
    if not path.is_dir():
        raise FolderError(f"{path}: no such folder", "Name the folder of a study.")
    folder = StudyFolder(path)
    if folder.record() is None:
        raise FolderError(f"{path}: holds no study: has no {STUDY_JSON}", "Name the folder of a study.")
    require_kind(folder, kind)


def _refuse_another(folder: StudyFolder, study: Study) -> None:
    """Keep what was asked for, and refuse to continue with anything else."""
    require_kind(folder, study.kind)
    output, asked = folder.path, study.asked()
    path = output / ASKED_JSON
    if path.exists():
        before = msgspec.json.decode(path.read_bytes())
        now = msgspec.json.decode(as_json(asked))
        other = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        if other:
            raise FolderError(
                f"{output}: the study in it was started with different values of {', '.join(other)}",
                "Continue it with what it was started with, or choose a new folder with --output.",
            )
    elif folder.record() is not None:
        raise FolderError(f"{output}: its study has no {ASKED_JSON}", "Choose a new folder with --output.")
    write_atomically(path, as_json(asked))


class _Seen:
    """When accelerators were last read; None where nothing samples any."""

    def __init__(self) -> None:
        self.read_s: float | None = None

    def take(self, record: LiveRecord) -> None:
        self.read_s = min((device.at_s for device in record.devices), default=self.read_s)

    def close(self) -> None:
        pass


class _Runner:
    """One command's part of a study."""

    def __init__(self, study: Study, folder: Path, view: ToldRun, seen: _Seen) -> None:
        self._study, self._folder, self._view, self._seen = study, folder, view, seen
        self._order = len(list(folder.glob(f"trials/*/{TRIAL_JSON}")))
        self._sampler_until_s: float | None = None

    def run(self) -> None:
        study, points = self._study, self._study.points()
        to_do = [
            (point, number) for point, number in self._blocks(points) if not self._is_done(point, number)
        ]
        if not to_do:
            return
        with Watch(self._view) as watch, study.beside(watch, self._folder):
            self._idle(watch, "idle")
            for key in dict.fromkeys(point.engines for point, _ in to_do):
                with ExitStack() as loaded:
                    fleets = self._load(watch, key, loaded)
                    if fleets:
                        self._idle(watch, f"loaded {key}")
                    for point, number in to_do:
                        if point.engines == key:
                            self._measure(watch, point, number, fleets)

    def _blocks(self, points: Sequence[Point]) -> list[tuple[Point, int]]:
        """Every point once, in an order that is drawn; then again for the next trial."""
        return [
            (points[place], number)
            for number in range(1, self._study.trials + 1)
            for place in np.random.default_rng((self._study.seed, number)).permutation(len(points))
        ]

    def _path(self, point: Point, number: int) -> Path:
        return self._folder / "trials" / _label(point, number)

    def _is_done(self, point: Point, number: int) -> bool:
        return (self._path(point, number) / TRIAL_JSON).exists()

    def _load(self, watch: Watch, key: str, loaded: ExitStack) -> dict[str, Fleet]:
        """Engines one after another, but those that may load beside others.

        Two that take what memory is free would each count the other's.
        """
        fleets = {
            plan.name: watch.fleet(
                plan,
                self._folder / "fleets" / key / plan.name,
                self._study.samples(self._folder, plan.name),
            )
            for plan in (self._study.fleets(key) if key else ())
        }
        for fleet in fleets.values():
            if fleet.plan.loads_beside:
                fleet.start()
        for fleet in fleets.values():
            loaded.enter_context(fleet)
        return fleets

    def _idle(self, watch: Watch, name: str) -> None:
        """Measure what is drawn when nothing is done; kept as two moments."""
        path = self._folder / IDLE_JSON
        known = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
        if not self._study.idle_s or name in known:
            return
        self._await_sampler(watch)
        pause(watch, 1.0, "settling")
        begin = time.monotonic()
        pause(watch, self._study.idle_s, f"measuring nothing ({name})")
        known[name] = [begin, time.monotonic()]
        self._bracket(watch, "settling")
        write_atomically(path, as_json(known))

    def _await_sampler(self, watch: Watch) -> None:
        """Wait until a first reading of the accelerators is recorded, if anything samples them; not long."""
        if self._sampler_until_s is None:
            self._sampler_until_s = time.monotonic() + _FIRST_READING_S
        while (
            self._seen.read_s is None
            and time.monotonic() < self._sampler_until_s
            and any(it.role is TELEMETRY and it.report is None and not it.is_lost for it in watch.children)
        ):
            watch.turn("the sampler starts")

    def _bracket(self, watch: Watch, stage: str) -> None:
        """Wait for a reading of each accelerator from now or later."""
        end_s = time.monotonic()
        while self._seen.read_s is not None and self._seen.read_s < end_s:
            watch.turn(stage)
            if time.monotonic() - end_s > _LAST_READING_S:
                return

    def _measure(self, watch: Watch, point: Point, number: int, fleets: Mapping[str, Fleet]) -> None:
        path = self._path(point, number)
        set_aside(path)
        path.mkdir(parents=True)
        load_average = os.getloadavg()[0]
        with self._study.at(point, fleets, path) as setting:
            self._await_sampler(watch)
            pause(watch, self._study.settle_s, f"{path.name}: settling")
            began_s = time.monotonic()
            results = measure_loads(
                watch, setting.loads, until=setting.until, arm_timeout_s=setting.arm_timeout_s
            )
            ended_s = time.monotonic()
        self._bracket(watch, f"{path.name}: over")
        record = TrialRecord(
            label=point.label, number=number, settings=dict(point.settings),
            read_back=dict(setting.read_back), order=self._order, began_s=began_s, ended_s=ended_s,
            load_average=load_average, skew_ms=_skew_ms(results),
            loads={result.name: dict(result.report) for result in results},
        )  # fmt: skip
        self._order += 1
        write_record(path / TRIAL_JSON, record)
        self._view.say(f"{path.name}: measured, {ended_s - began_s:.1f} s")


def pause(watch: Watch, seconds: float, stage: str) -> None:
    """Wait while the children are watched."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        watch.turn(stage)


def _skew_ms(results: Sequence[LoadResult]) -> float:
    starts = [int(it.report["start_ns"]) for it in results if "start_ns" in it.report]
    return (max(starts) - min(starts)) / 1e6 if len(starts) > 1 else 0.0
