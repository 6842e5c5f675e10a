"""Reading files that may be missing, cut, binary, enormous or no files at all."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The files that LoadGen writes (loadgen/loadgen.cc, @b66003e1).
DETAIL_LOG = "mlperf_log_detail.txt"
SUMMARY_LOG = "mlperf_log_summary.txt"
ACCURACY_LOG = "mlperf_log_accuracy.json"

_LONGEST_LINE = 32 * 1024 * 1024
_MOST_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class LogError:
    """What is wrong with a file, as data.

    Attributes:
        path: The file, or None while it is known to the caller only.
        line: Line number from 1, or 0 where the whole file is meant.
        reason: What is wrong.
    """

    path: Path | None
    line: int
    reason: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.reason}"


def file_problem(path: Path) -> str | None:
    """Why `path` is no readable, plain, non-empty file, or None; a symbolic link is no plain file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError) as error:
        return f"cannot be read: {_reason(error)}"
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    return "is empty" if status.st_size == 0 else None


def read_lines(path: Path) -> Iterator[tuple[int, str | LogError]]:
    """Lines with their numbers, without line ends; what cannot be read comes as a LogError."""
    if problem := file_problem(path):
        yield 0, LogError(path, 0, problem)
        return
    problems = 0
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(_LONGEST_LINE):
                number += 1
                if len(raw) >= _LONGEST_LINE:
                    yield number, LogError(path, number, f"a line of more than {_LONGEST_LINE} bytes")
                    return
                try:
                    yield number, raw.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    problems += 1
                    yield number, LogError(path, number, "not valid UTF-8")
                    if problems >= _MOST_PROBLEMS:
                        return
    except OSError as error:
        yield 0, LogError(path, 0, f"cannot be read: {_reason(error)}")


def read_text(path: Path, limit: int = 4 * 1024 * 1024) -> tuple[str, LogError | None]:
    """A small text file whole, or an empty text and why not.

    Args:
        path: The file.
        limit: Largest size that is read, bytes.
    """
    if problem := file_problem(path):
        return "", LogError(path, 0, problem)
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
        if len(raw) > limit:
            return "", LogError(path, 0, f"is larger than {limit} bytes")
        return raw.decode("utf-8"), None
    except OSError as error:
        return "", LogError(path, 0, f"cannot be read: {_reason(error)}")
    except UnicodeDecodeError as error:
        return "", LogError(path, 0, f"not valid UTF-8: byte {error.start}")


def read_object(path: Path) -> tuple[dict[str, Any] | None, str]:
    """A JSON object from a small file, or None and why not."""
    text, problem = read_text(path)
    if problem:
        return None, str(problem)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        return None, f"no JSON: {error}"
    return (found, "") if isinstance(found, dict) else (None, "no JSON object")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
