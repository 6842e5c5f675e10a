"""Systems measured by turns, ABABAB, so that what drifts on the host meets all of them alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness_llm.errors import FolderError
from harness_llm.results.held import utc_now
from harness_llm.results.paths import STUDY_JSON
from harness_llm.results.reading import read_record
from harness_llm.results.study_folder import PointRecord, StudyFolder, StudyRecord
from harness_llm.run.execute import execute
from harness_llm.run.prepare import Prepared
from harness_llm.system import provenance
from harness_llm.views.live import View

KIND = "compare"


def measure_by_turns(arms: Mapping[str, Prepared], pairs: int, folder: Path, view: View) -> None:
    """Measure each system once, then each again; what a folder holds already stays.

    Args:
        arms: What to run, by the name that the user gave it.
        pairs: How often.
        folder: The study folder; new, or one of the same systems that did not finish.
        view: Where to show how it goes.

    Raises:
        FolderError: The folder is in use, or holds another study.
        RunBroken: A run cannot go on.
    """
    turns = [(turn, letter, name) for turn in range(1, pairs + 1) for letter, name in _letters(arms)]
    points = tuple(
        PointRecord(label=f"{letter}{turn}", settings={"system": letter, "turn": turn, "name": name})
        for turn, letter, name in turns
    )
    record = StudyRecord(
        kind=KIND, seed=0, points=points, command=tuple(provenance.command()),
        versions=provenance.packages(), state="running", started_utc=utc_now(),
    )  # fmt: skip
    with StudyFolder(folder) as study:
        study.begin(record)
        try:
            for point in study.to_do():
                view.say(f"run {point.label} of {len(points)}: {point.settings['name']}")
                run = study.start_over(point.label)
                execute(arms[str(point.settings["name"])], run.path, view, resume=False)
        except BaseException as error:
            study.finish("interrupted", str(error) or type(error).__name__)
            raise
        study.finish("complete")


def _letters(names: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(chr(ord("A") + number), name) for number, name in enumerate(names)]


def arms_of(folder: Path) -> list[list[Path]]:
    """The runs of each system of a study, in the order in which they ran; of turns that all systems had.

    Raises:
        FolderError: It is no study of systems by turns, or no turn is complete.
    """
    record = read_record(folder / STUDY_JSON, StudyRecord)
    if record.kind != KIND:
        raise FolderError(f"{folder}: a study of kind {record.kind}", f"Give one of kind {KIND}.")
    done = {label for label, run in StudyFolder(folder).runs().items() if run.state == "complete"}
    turns: dict[object, list[str]] = {}
    for point in record.points:
        turns.setdefault(point.settings.get("turn"), []).append(point.label)
    whole = [labels for labels in turns.values() if done >= set(labels)]
    if not whole:
        raise FolderError(f"{folder}: no turn is complete", "Give the same command again: it continues.")
    return [[folder / "runs" / label for label in arm] for arm in zip(*whole, strict=True)]


def is_study(folder: Path) -> bool:
    """Whether a folder holds a study."""
    return (folder / STUDY_JSON).is_file()
