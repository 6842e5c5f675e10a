"""accuracy.txt: scores as `'name': number`, the form that the official checker's patterns match.

Source: submission_checker/constants.py lines 1804-1831 @b66003e1: a blank after the colon, digits and a point
only, so that neither `np.float64(44.4)` nor `1e-05` matches; of each name the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_SCORE = re.compile(
    r"'(?P<name>\w+)':(?P<gap>\s*)(?P<wrap>np\.\w+\()?'?"
    r"(?P<number>[-+]?\d[\d.]*(?:[eE][-+]?\d+)?)'?(?P<end>[,}\s])?"
)
HASH_LINE = re.compile(r"^hash=([\w\d]+)\r?$", re.MULTILINE)
"""The line that truncate_accuracy_log.py adds: the SHA-256 of the whole accuracy log."""

_WRAPPED = re.compile(r"'(\w+)':\s*np\.\w+\(")
_OFFICIAL_NUMBER = re.compile(r"\d[\d.]*")


@dataclass(frozen=True)
class Score:
    """A score in a text.

    Attributes:
        name: Its name, e.g. `rouge1`.
        value: Its value.
        is_official: Whether the official checker would see it.
    """

    name: str
    value: float
    is_official: bool


def scores_line(numbers: Mapping[str, float]) -> str:
    """The scores on one line, without a line end; integers stay integers."""
    return "{" + ", ".join(f"'{name}': {_plain(value)}" for name, value in numbers.items()) + "}"


def _plain(value: float) -> str:
    """A number of digits and at most one point, as short as it can be."""
    return str(value) if isinstance(value, int) else f"{value:.10f}".rstrip("0").rstrip(".")


def scores_in(text: str) -> list[Score]:
    """All scores of a text in their order, those in another form than the official one, too."""
    found = []
    for match in _SCORE.finditer(text):
        try:
            value = float(match["number"])
        except ValueError:  # 1.2.3
            continue
        is_plain = bool(_OFFICIAL_NUMBER.fullmatch(match["number"])) and not match["wrap"]
        found.append(
            Score(match["name"], value, bool(match["gap"]) and is_plain and match["end"] is not None)
        )
    return found


def official_scores(text: str) -> dict[str, float]:
    """The scores that the official checker would see, the last of each name."""
    return {score.name: score.value for score in scores_in(text) if score.is_official}


def official_lines(text: str) -> dict[str, list[float]]:
    """By name, what the official checker judges: the last score of each line that has one."""
    found: dict[str, list[float]] = {}
    for line in text.splitlines(keepends=True):
        for name, value in official_scores(line).items():
            found.setdefault(name, []).append(value)
    return found


def wrapped_numbers(text: str) -> list[str]:
    """Names whose number numpy wrapped, e.g. `np.float64(44.4)`, so that the official checker misses it."""
    return _WRAPPED.findall(text)
