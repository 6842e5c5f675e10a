"""What can be edited in a tree: each number of each file, each file, and each pair of files of one kind."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PREFIX = ":::MLLOG "
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])|(?<=[A-Za-z:T-])\d+(?=\D|$)")
_LABELLED = re.compile(r'(?:^|[,{ ])\s*["\']?([A-Za-z][\w .()-]*?)["\']?\s*[:=]\s*("?[^,:=]*)')
_HEX = re.compile(r"[0-9A-Fa-f]{8,}")
_LONGEST = 60  # characters of a value whose every number is a place of its own


@dataclass(frozen=True)
class Number:
    """A number in a file.

    Attributes:
        path: The file, relative to the tree.
        key: What it is: `accuracy/mlperf_log_detail.txt:effective_scenario`.
        start: Where it stands in the file, characters.
        text: As it is written.
    """

    path: str
    key: str
    start: int
    text: str


def place_of(path: Path) -> str:
    """Where a file stands in its result, as `TEST06/accuracy/x.json`; its name alone elsewhere."""
    for scenario in ("Offline", "Server", "Interactive"):
        if scenario in path.parts:
            return "/".join(path.parts[path.parts.index(scenario) + 1 :])
    return path.name


def numbers(tree: Path, path: Path) -> list[Number]:
    """Every number of a text file; of a long list, some."""
    name, text = str(path.relative_to(tree)), path.read_text(errors="surrogateescape")
    place = place_of(path)
    found = _detail(text) if path.name == "mlperf_log_detail.txt" else _lines(path.name, text)
    return [Number(name, f"{place}:{key}", start, word) for key, start, word in found]


def _detail(text: str) -> Iterator[tuple[str, int, str]]:
    """Of each line: the value, the time, and the metadata."""
    at = 0
    for line in text.splitlines(keepends=True):
        key = json.loads(line[len(PREFIX) :])["key"]
        for part in ("value", "time_ms", "line_no", "pid", "tid", "is_error", "is_warning"):
            found = re.search(rf'"{part}": (.*?)(?=, "\w+": |\}})', line)
            if found:
                shown = key if part == "value" else part
                yield from ((shown, at + found.start(1) + start, word) for start, word in _words(found[1]))
        at += len(line)


def _lines(name: str, text: str) -> Iterator[tuple[str, int, str]]:
    """Of each line: the numbers after its label; of an accuracy log also some digits of the answers."""
    at = 0
    for line in text.splitlines(keepends=True):
        half = "half " if name.endswith("accuracy.json") and not re.match(r"\{.*\},?$", line) else ""
        for found in _LABELLED.finditer(line):
            yield from (
                (half + found[1].strip(), at + found.start(2) + start, word)
                for start, word in _words(found[2])
            )
        at += len(line)
    if name.endswith((".md", ".py")):
        yield from (("text", found.start(), found[0]) for found in re.finditer(r"\d+", text))


def _words(text: str) -> Iterator[tuple[int, str]]:
    """Numbers and booleans in a value; a long hexadecimal text or list gives three."""
    found = [(one.start(), one[0]) for one in re.finditer(r"\btrue\b|\bfalse\b", text)]
    found += [(one.start(), one[0]) for one in _NUMBER.finditer(text)]
    if not found:
        found = [(one.start(), one[0][:8]) for one in _HEX.finditer(text)]
    if found and len(text) > _LONGEST:
        found = [found[0], found[len(found) // 2], found[-1]]
    yield from found


@dataclass(frozen=True)
class Places:
    """All places of one tree."""

    tree: Path

    @cached_property
    def files(self) -> list[Path]:
        """Every file, in order."""
        return sorted(path for path in self.tree.rglob("*") if path.is_file())

    @cached_property
    def by_key(self) -> dict[str, list[Number]]:
        """Numbers by what they are, so that each kind is as likely as any other."""
        found: dict[str, list[Number]] = {}
        for path in self.files:
            for number in numbers(self.tree, path):
                found.setdefault(number.key, []).append(number)
        return found

    @cached_property
    def twins(self) -> list[tuple[Path, Path]]:
        """Pairs of files of one name with different bytes."""
        return [
            (one, other)
            for one in self.files
            for other in self.files
            if one != other and one.name == other.name and one.read_bytes() != other.read_bytes()
        ]

    @cached_property
    def printed(self) -> list[tuple[Number, Number]]:
        """A figure of a detail log, and the same figure in the summary beside it."""
        summaries: dict[str, list[Number]] = {}
        logs: list[Number] = []
        for number in (each for some in self.by_key.values() for each in some):
            if number.path.endswith("_summary.txt"):
                summaries.setdefault(number.path, []).append(number)
            elif "mlperf_log_detail.txt:result_" in number.key:
                logs.append(number)
        return [
            (number, other)
            for number in logs
            for other in summaries.get(number.path.replace("_detail", "_summary"), ())
            if len(number.text) > 4 and _is_same(number.text, other.text)
        ]


def _is_same(one: str, other: str) -> bool:
    """Whether two texts are one figure, to the digits of a rate."""
    try:
        return math.isclose(float(one), float(other), rel_tol=2e-5)
    except ValueError:
        return False
