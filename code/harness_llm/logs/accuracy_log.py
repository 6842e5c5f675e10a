"""LoadGen's mlperf_log_accuracy.json, whole or truncated, read in one pass without holding it in memory."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness_llm.logs.source import LogError, file_problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["AccuracyEntry", "AccuracyLog", "file_hash", "iterate_entries"]

_CUT = "..."
_LONGEST_LINE = 8 * 1024 * 1024
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class AccuracyEntry:
    """One answer.

    Attributes:
        sequence: LoadGen's sequence number.
        sample: Index of the sample in the data set.
        data: The whole answer, hexadecimal.
        token_data: What FirstTokenComplete carried, hexadecimal; empty in Offline.
        token_count: Tokens as LoadGen was told; None where the log has none.
    """

    sequence: int
    sample: int
    data: str
    token_data: str
    token_count: int | None


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        OSError: The file cannot be read.
    """
    state = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            state.update(block)
    return state.hexdigest()


def iterate_entries(path: Path) -> Iterator[AccuracyEntry | LogError | None]:
    """The entries of a log in order; None where the log was truncated, a LogError for what is no entry."""
    if problem := file_problem(path):
        yield LogError(path, 0, problem)
        return
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(_LONGEST_LINE):
                number += 1
                line = raw.decode("utf-8", errors="replace").strip().rstrip(",")
                if line in ("", "[", "]"):
                    continue
                if line == _CUT:
                    yield None
                    continue
                yield _parse_entry(path, number, line)
    except OSError as error:
        yield LogError(path, 0, f"cannot be read: {error.strerror or error}")


def _parse_entry(path: Path, number: int, line: str) -> AccuracyEntry | LogError:
    try:
        found = json.loads(line)
        count = found.get("token_count")
        return AccuracyEntry(
            int(found["seq_id"]),
            int(found["qsl_idx"]),
            str(found["data"]),
            str(found.get("token_data", "")),
            None if count is None else int(count),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return LogError(path, number, f"no entry of an accuracy log: {line[:60]!r}")


@dataclass(frozen=True)
class AccuracyLog:
    """What an accuracy log holds, counted.

    Attributes:
        path: The file.
        size: Bytes.
        is_truncated: Whether the middle was cut out for submission.
        samples: Sample indices seen whole.
        entries: Whole entries seen.
        repeated: Entries whose sample was seen before.
        tokens: Sum of token counts over the first entry of each sample, None where an entry has no count.
        count_mismatches: Entries whose token count is not the length of the data in 4-byte tokens.
        problems: What is no entry; the line cut on each side of a truncation is no problem.
    """

    path: Path
    size: int = 0
    is_truncated: bool = False
    samples: frozenset[int] = frozenset()
    entries: int = 0
    repeated: int = 0
    tokens: int | None = 0
    count_mismatches: int = 0
    problems: tuple[LogError, ...] = ()

    @classmethod
    def read(cls, path: Path, token_bytes: int = 4) -> AccuracyLog:
        """Read a log in one pass.

        Args:
            path: The file.
            token_bytes: Bytes of one token in `data`.
        """
        try:
            size = path.stat().st_size
        except (OSError, ValueError):
            size = 0
        seen: set[int] = set()
        problems: list[LogError] = []
        entries = repeated = mismatches = 0
        tokens: int | None = 0
        truncated = False
        is_before_bad = False
        is_after_cut = False
        for found in iterate_entries(path):
            if found is None:
                truncated = is_after_cut = True
                if is_before_bad:  # the half entry before the cut
                    problems.pop()
            elif isinstance(found, LogError):
                if not is_after_cut:  # else the half entry after it
                    problems.append(found)
                is_before_bad, is_after_cut = not is_after_cut, False
            else:
                is_before_bad = is_after_cut = False
                entries += 1
                if found.sample in seen:
                    repeated += 1
                    continue
                seen.add(found.sample)
                if found.token_count is None or tokens is None:
                    tokens = None
                else:
                    tokens += found.token_count
                    mismatches += len(found.data) != 2 * token_bytes * found.token_count
        return cls(
            path,
            size,
            truncated,
            frozenset(seen),
            entries,
            repeated,
            tokens,
            mismatches,
            tuple(problems[:20]),
        )

    @property
    def tokens_per_sample(self) -> float | None:
        """Mean tokens of an answer; None for a truncated or empty log."""
        if self.is_truncated or not self.samples or self.tokens is None:
            return None
        return self.tokens / len(self.samples)
