"""accuracy.txt in the form that the official checker's patterns match; accuracy logs cut and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness_llm.errors import FolderError
from harness_llm.files import file_digest
from harness_llm.logs.accuracy_log import CUT, KEPT_BYTES
from harness_llm.logs.source import read_text
from harness_llm.results.accuracy_txt import scores_in, scores_line
from harness_llm.results.paths import ACCURACY_JSON
from harness_llm.results.records import AccuracyRecord


def published_numbers(record: AccuracyRecord | None, text_file: Path) -> dict[str, float]:
    """Every number that accuracy.txt shall show: accuracy.json's, and what accuracy.txt has beside them.

    Empty for a run that was not scored.

    Raises:
        FolderError: The two files of the run contradict each other.
    """
    if record is None:
        return {}
    numbers = {**record.scores, "tokens_per_sample": record.tokens_per_sample}
    text, problem = read_text(text_file)
    if problem:
        raise FolderError(f"{text_file}: {problem}", "Score the accuracy test again.")
    for score in scores_in(text):
        rounding = 0.1 if score.name == "tokens_per_sample" else 1e-3
        if abs(numbers.setdefault(score.name, score.value) - score.value) > rounding:
            raise FolderError(
                f"{text_file}: {score.name} is {score.value:g}, "
                f"{ACCURACY_JSON} beside it says {numbers[score.name]:g}",
                "One of them is not of this run; score the accuracy test again.",
            )
    return numbers


def accuracy_text(numbers: Mapping[str, float], notes: tuple[str, ...]) -> str:
    """The scores on one line, notes before it; a sentence where there are none."""
    if not numbers:
        notes = (*notes, "the answers were not scored")
    return "".join(f"# {note}\n" for note in notes) + (f"{scores_line(numbers)}\n" if numbers else "")


def copy_truncated(log: Path, target: Path) -> str:
    """Copy an accuracy log for submission, its middle cut out, and return the SHA-256 of the whole one."""
    size = log.stat().st_size
    with log.open("rb") as source, target.open("wb") as copy:
        copy.write(source.read(KEPT_BYTES))
        if size >= KEPT_BYTES:
            source.seek(size - KEPT_BYTES)
            copy.write(CUT + source.read(KEPT_BYTES))
    return file_digest(log)
