"""accuracy.txt in the form that the official checker's patterns match; accuracy logs cut and hashed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness_llm.errors import FolderError
from harness_llm.files import file_digest
from harness_llm.logs.source import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_llm.package.run_folder import AccuracyRecord

__all__ = ["accuracy_text", "copy_truncated", "published_numbers"]

# tools/submission/truncate_accuracy_log.py lines 20-21 and 94-107 @b66003e1: what is kept around the cut.
_KEPT_BYTES = 4096
_CUT = b"\n\n...\n\n"
_PAIR = re.compile(r"'(\w+)':\s*(?:np\.float(?:32|64)\()?'?([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)")


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
    for name, found in _PAIR.findall(text):
        value = float(found)
        rounding = 0.1 if name == "tokens_per_sample" else 1e-3
        if abs(numbers.setdefault(name, value) - value) > rounding:
            raise FolderError(
                f"{text_file}: {name} is {found}, accuracy.json beside it says {numbers[name]}",
                "One of them is not of this run; score the accuracy test again.",
            )
    return numbers


def accuracy_text(numbers: Mapping[str, float], notes: tuple[str, ...]) -> str:
    """The scores as one line of `'name': number` pairs, notes before it; a sentence where there are none.

    Source: submission_checker/constants.py lines 1804-1831 @b66003e1: one blank after the colon, and digits
    and a point only, so that neither `np.float64(44.4)` nor `1e-05` would match.
    """
    if not numbers:
        notes = (*notes, "the answers were not scored")
    pairs = ", ".join(f"'{name}': {_plain(value)}" for name, value in numbers.items())
    return "".join(f"# {note}\n" for note in notes) + (f"{{{pairs}}}\n" if pairs else "")


def _plain(value: float) -> str:
    """A number without an exponent, as short as it can be."""
    return f"{value:.10f}".rstrip("0").rstrip(".")


def copy_truncated(log: Path, target: Path) -> str:
    """Copy an accuracy log for submission, its middle cut out, and return the SHA-256 of the whole one."""
    size = log.stat().st_size
    with log.open("rb") as source, target.open("wb") as copy:
        copy.write(source.read(_KEPT_BYTES))
        if size >= _KEPT_BYTES:
            source.seek(size - _KEPT_BYTES)
            copy.write(_CUT + source.read(_KEPT_BYTES))
    return file_digest(log)
