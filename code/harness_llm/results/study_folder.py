"""The study folder: several runs under one manifest, which can be continued.

::

    <study>/
      study.json          what is measured, with which seed, how far it came
      runs/<label>/       the run folder of one point
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from msgspec.structs import replace

from harness_llm.errors import FolderError
from harness_llm.results.held import HeldFolder, set_aside, utc_now
from harness_llm.results.paths import RUN_JSON, STUDY_JSON
from harness_llm.results.reading import read_record, write_record
from harness_llm.results.record_base import Record
from harness_llm.results.records import FORMAT, RunRecord, State
from harness_llm.results.run_folder import RunFolder

_LABEL = re.compile(r"[\w+][^/\0]*")
_FIXED = ("kind", "seed", "points")


class PointRecord(Record, frozen=True, kw_only=True):
    """What one run of a study is made with.

    Attributes:
        label: Its name, unique in the study, used as a folder name, e.g. `400W`.
        settings: What varies, by name.
    """

    label: str
    settings: dict[str, str | int | float | bool | None] = {}


class StudyRecord(Record, frozen=True, kw_only=True):
    """study.json.

    Attributes:
        format: See `FORMAT`.
        kind: What is studied.
        seed: Of everything that is drawn.
        points: What is measured, in order.
        command: The command line.
        versions: Versions of what ran, by name.
        state: How far it came.
        reason: Why it is not complete.
        started_utc: When it was first started.
        resumed_utc: When it was continued.
        finished_utc: When it ended; None while it runs.
    """

    format: int = FORMAT
    kind: str
    seed: int
    points: tuple[PointRecord, ...]
    command: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    state: State
    reason: str = ""
    started_utc: str
    resumed_utc: tuple[str, ...] = ()
    finished_utc: str | None = None

    @classmethod
    def blank(cls) -> Self:
        """A broken study of nothing."""
        return cls(kind="unknown", seed=-1, points=(), state="broken", started_utc="")


class StudyFolder(HeldFolder):
    """One study's folder, held by one process at a time.

    Which points are done is nowhere written: it follows from the manifest and the runs that lie beside it.

    Args:
        path: The folder; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, STUDY_JSON, "study")
        self._begun: StudyRecord | None = None

    def record(self) -> StudyRecord | None:
        """study.json, or None in a new folder.

        Raises:
            FolderError: It is damaged, or of a newer version.
        """
        return read_record(self.record_path, StudyRecord) if self.record_path.exists() else None

    def begin(self, record: StudyRecord) -> None:
        """Begin the study, or continue the one that lies here.

        Raises:
            FolderError: Another study lies here: of another kind, with another seed or with other points.
        """
        labels = [point.label for point in record.points]
        assert len(set(labels)) == len(labels) and all(map(_LABEL.fullmatch, labels)), labels
        earlier = self.record()
        if earlier is not None:
            other = [key for key in _FIXED if getattr(earlier, key) != getattr(record, key)]
            if other:
                raise FolderError(
                    f"{self.path}: the study in it differs in {', '.join(other)}",
                    "Continue it with what it was started with, or choose a new folder with --output.",
                )
            resumed = (*earlier.resumed_utc, utc_now())
            record = replace(record, started_utc=earlier.started_utc, resumed_utc=resumed)
        self._begun = record
        write_record(self.record_path, record)

    def finish(self, state: State, reason: str = "") -> None:
        """Record how the study ended; nothing where it was never begun."""
        if self._begun is not None:
            ended = replace(self._begun, state=state, reason=reason, finished_utc=utc_now())
            write_record(self.record_path, ended)

    def run(self, label: str) -> RunFolder:
        """The run folder of a point, to hold and to fill."""
        return RunFolder(self._run(label))

    def start_over(self, label: str) -> RunFolder:
        """The run folder of a point, new; what an earlier run left is kept beside it."""
        set_aside(self._run(label))
        return self.run(label)

    def runs(self) -> dict[str, RunRecord]:
        """The record of each point's run, by label, in the order of the points; without those never begun.

        Raises:
            FolderError: A record is damaged.
        """
        return {
            point.label: read_record(self._run(point.label) / RUN_JSON, RunRecord)
            for point in self._points()
            if (self._run(point.label) / RUN_JSON).exists()
        }

    def to_do(self) -> list[PointRecord]:
        """The points that have no complete run yet, in order."""
        done = {label for label, run in self.runs().items() if run.state == "complete"}
        return [point for point in self._points() if point.label not in done]

    def _points(self) -> tuple[PointRecord, ...]:
        record = self.record()
        return () if record is None else record.points

    def _run(self, label: str) -> Path:
        return self.path / "runs" / label
