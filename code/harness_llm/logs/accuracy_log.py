"""LoadGen's mlperf_log_accuracy.json, whole or truncated, read in one pass without holding it in memory.

One iterator and one parser, for two kinds of reader: `iterate_entries` hands faults on as data (for checks of
files that may be broken), `read_answers` refuses a log that is not whole (for scores and verdicts).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from harness_llm.errors import FolderError
from harness_llm.logs.source import LogError, file_problem

# tools/submission/truncate_accuracy_log.py lines 20-21 and 98-110 @b66003e1: what is kept around the cut.
KEPT_BYTES = 4096
CUT = b"\n\n...\n\n"
CUT_BYTES = 2 * KEPT_BYTES + len(CUT)
_CUT = CUT.strip()
_TOKEN_BYTES = (4, 8)
_VOCABULARY_DIGITS = 6  # of a token id, little-endian: no vocabulary has 2**24 tokens
_TELLING_DIGITS = 512  # 64 tokens: two samples do not have one answer of this length by chance
_LONGEST_LINE = 8 * 1024 * 1024
_MOST_PROBLEMS = 1000
_SHOWN_PROBLEMS = 20
_SHOWN_CHARACTERS = 60
_WHOLE = "Use the log as LoadGen wrote it, before it is truncated for submission, or run the test again."


class AccuracyEntry(
    msgspec.Struct, frozen=True, gc=False, rename={"sequence": "seq_id", "sample": "qsl_idx"}
):
    """One answer, as a line of the log has it (loadgen/logging.cc, AsyncLog::LogAccuracy, @b66003e1).

    Attributes:
        sequence: LoadGen's sequence number.
        sample: Index of the sample in the data set.
        data: The whole answer, hexadecimal: token ids, int32, little-endian.
        token_data: What FirstTokenComplete carried, hexadecimal; empty in Offline.
        token_count: Tokens as LoadGen was told; None where the log has none.
    """

    sequence: int
    sample: int
    data: str
    token_data: str = ""
    token_count: int | None = None


@dataclass(frozen=True, eq=False, slots=True)
class LoggedAnswer:
    """One answer out of a whole log, as token ids.

    Attributes:
        line: Its line in the log, from 1.
        sample: Index of the sample in the data set.
        tokens: int32, the whole answer.
        first_tokens: int32, what was reported as the first token; empty in Offline, where nothing is.
        token_count: Tokens as LoadGen was told; None where the log has none.
    """

    line: int
    sample: int
    tokens: npt.NDArray[np.int32]
    first_tokens: npt.NDArray[np.int32]
    token_count: int | None


def iterate_entries(path: Path) -> Iterator[AccuracyEntry | LogError | None]:
    """The entries of a log in order; None where the log was truncated, a LogError for what is no entry.

    Nothing that a file may hold is raised. A LogError with line 0 is about the file as a whole.
    """
    return (found for _, found in _numbered(path))


def read_answers(path: Path) -> Iterator[LoggedAnswer]:
    """The answers of a log that must be whole.

    Raises:
        FolderError: The file is missing, truncated, cut short, or holds something else.
    """
    for number, entry in _numbered(path):
        if entry is None:
            raise FolderError(f"{path}, line {number}: was truncated for submission", _WHOLE)
        if isinstance(entry, LogError):
            raise FolderError(f"{path}{f', line {number}' if number else ''}: {entry.reason}", _WHOLE)
        try:
            tokens, first = _tokens(entry.data), _tokens(entry.token_data)
        except ValueError as error:  # odd hexadecimal, or no multiple of 4 bytes
            raise FolderError(
                f"{path}, line {number}: sample {entry.sample}: no 4-byte tokens: {error}", _WHOLE
            ) from error
        yield LoggedAnswer(number, entry.sample, tokens, first, entry.token_count)


def _tokens(hexadecimal: str) -> npt.NDArray[np.int32]:
    return np.frombuffer(bytes.fromhex(hexadecimal), "<i4").astype(np.int32, copy=False)


def _numbered(path: Path) -> Iterator[tuple[int, AccuracyEntry | LogError | None]]:
    """Entries, cuts and faults, each with its line; at the end a fault where the list is not closed."""
    if problem := file_problem(path):
        yield 0, LogError(path, 0, problem)
        return
    decoder = msgspec.json.Decoder(AccuracyEntry)
    number = problems = 0
    closed = False
    try:
        with path.open("rb") as file:
            while raw := file.readline(_LONGEST_LINE):
                number += 1
                line = raw.strip()
                if number == 1:
                    if not line.startswith(b"["):
                        problems += 1
                        yield 1, LogError(path, 1, "not an accuracy log of LoadGen: no list begins")
                    line = line.removeprefix(b"[").lstrip()
                closed = line.endswith(b"]") or (closed and not line)
                line = line.removesuffix(b"]").rstrip().removesuffix(b",")
                if not line:
                    continue
                found = None if line == _CUT else _parsed(path, number, line, decoder)
                problems += isinstance(found, LogError)
                yield number, found
                if problems >= _MOST_PROBLEMS:
                    return
    except OSError as error:
        yield 0, LogError(path, 0, f"cannot be read: {error.strerror or error}")
        return
    if not closed:
        yield 0, LogError(path, 0, "ends in the middle; LoadGen did not finish it")


def _parsed(
    path: Path, number: int, line: bytes, decoder: msgspec.json.Decoder[AccuracyEntry]
) -> AccuracyEntry | LogError:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        shown = line[:_SHOWN_CHARACTERS].decode(errors="replace")
        return LogError(path, number, f"no entry of an accuracy log: {error}: {shown!r}")


@dataclass(frozen=True, slots=True)
class AccuracyLog:
    """What an accuracy log holds, counted; made from any file, however broken.

    Attributes:
        path: The file.
        size: Bytes.
        is_truncated: Whether the middle was cut out for submission.
        samples: Sample indices seen whole.
        numbers: Sequence number and sample of each whole entry.
        entries: Whole entries seen.
        repeated: Entries whose sample was seen before.
        tokens: Sum of token counts over the first entry of each sample, None where an entry has no count.
        count_mismatches: Entries whose token count is not the length of the data in tokens.
        token_bytes: Bytes of a token in the data: 8 where that alone fits every count, else 4.
        blank: Entries of which every token is 0.
        longest: Most tokens that an entry counts.
        alike: Entries of some length that are another sample's answer to the last token.
        foreign: Entries with a token id that no model has.
        problems: What is no entry; the line cut on each side of a truncation is no problem.
    """

    path: Path
    size: int = 0
    is_truncated: bool = False
    samples: frozenset[int] = frozenset()
    numbers: tuple[tuple[int, int], ...] = ()
    entries: int = 0
    repeated: int = 0
    tokens: int | None = 0
    count_mismatches: int = 0
    token_bytes: int = 4
    blank: int = 0
    longest: int = 0
    alike: int = 0
    foreign: int = 0
    problems: tuple[LogError, ...] = ()

    @classmethod
    def read(cls, path: Path) -> AccuracyLog:
        """Read a log in one pass.

        Token ids are int32 or int64: the official scripts take either by their --dtype option
        (mlcommons/inference @b66003e1 compliance/TEST06/run_verification.py lines 30-35).
        """
        try:
            size = path.stat().st_size
        except (OSError, ValueError):
            size = 0
        tally, problems = _Tally(), list[LogError]()
        truncated = is_before_bad = is_after_cut = False
        for found in iterate_entries(path):
            if found is None:
                truncated = is_after_cut = True
                if is_before_bad:  # the half entry before the cut
                    problems.pop()
                is_before_bad = False
            elif isinstance(found, LogError):
                is_half = is_after_cut and found.line > 0  # the half entry after the cut
                if not is_half:
                    problems.append(found)
                is_before_bad, is_after_cut = not is_half, False
            else:
                is_before_bad = is_after_cut = False
                tally.take(found)
        width = min(_TOKEN_BYTES, key=lambda size: (tally.mismatches[size] > 0, size))
        return cls(
            path,
            size,
            truncated,
            frozenset(tally.seen),
            tuple(tally.numbers),
            len(tally.numbers),
            tally.repeated,
            tally.tokens,
            tally.mismatches[width],
            width,
            tally.blank,
            tally.longest,
            tally.alike,
            tally.foreign[width],
            tuple(problems[:_SHOWN_PROBLEMS]),
        )

    @property
    def tokens_per_sample(self) -> float | None:
        """Mean tokens of an answer; None for a truncated or empty log."""
        if self.is_truncated or not self.samples or self.tokens is None:
            return None
        return self.tokens / len(self.samples)


class _Tally:
    """What is counted over the entries of a log."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.numbers: list[tuple[int, int]] = []
        self.repeated = self.blank = self.longest = self.alike = 0
        self.tokens: int | None = 0
        self.mismatches = dict.fromkeys(_TOKEN_BYTES, 0)
        self.foreign = dict.fromkeys(_TOKEN_BYTES, 0)
        self._answers: set[int] = set()

    def take(self, entry: AccuracyEntry) -> None:
        """Count one whole entry."""
        self.numbers.append((entry.sequence, entry.sample))
        if entry.sample in self.seen:
            self.repeated += 1
            return
        self.seen.add(entry.sample)
        count, data = entry.token_count, entry.data
        if count is None or self.tokens is None:
            self.tokens = None
        else:
            self.tokens += count
            self.longest = max(self.longest, count)
            for width in _TOKEN_BYTES:
                self.mismatches[width] += len(data) != 2 * width * count
        self.blank += bool(data) and not data.strip("0")
        for width in _TOKEN_BYTES:
            if count is None or width == _TOKEN_BYTES[0] or len(data) == 2 * width * count:
                self.foreign[width] += _is_foreign(data, 2 * width)
        if len(data) >= _TELLING_DIGITS:
            answer = hash(data)
            self.alike += answer in self._answers
            self._answers.add(answer)


def _is_foreign(data: str, digits: int) -> bool:
    """Whether a token id, little-endian in so many digits, is negative or beyond every vocabulary."""
    return any(data[at::digits].strip("0") for at in range(_VOCABULARY_DIGITS, digits))
