"""The comparison of two systems or more, each with a run or with several, for people and machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from harness_llm.compare.intervals import CONFIDENCE
from harness_llm.compare.numbers import Difference, are_paired, difference, numbers_of
from harness_llm.compare.sides import Side, differences, scenarios_of, unlike
from harness_llm.core import Scenario
from harness_llm.errors import FolderError

_NOT_TOLD = "not told apart"
_ONE_PAIR = (
    "One pair of runs: how far runs of one system differ is not known. Run three pairs with --pairs 3."
)


@dataclass(frozen=True)
class Comparison:
    """One scenario of two systems.

    Attributes:
        scenario: The scenario.
        a: A's name.
        b: B's name.
        markers: What must be said beside every number of A, and of B; empty where nothing must.
        pairs: How many pairs of runs.
        is_paired: Whether each query was compared with itself.
        unlike: Why their numbers say nothing of one another; empty unless that was overridden.
        changed: What was run otherwise: what, in A, in B.
        numbers: How each number differs; the verdict goes by the first.
    """

    scenario: Scenario
    a: str
    b: str
    markers: tuple[str, str]
    pairs: int
    is_paired: bool
    unlike: tuple[str, ...]
    changed: tuple[tuple[str, str, str], ...]
    numbers: tuple[Difference, ...]

    @property
    def verdict(self) -> str:
        """Whether they differ, in a sentence."""
        first = self.numbers[0]
        if first.change is None:
            return f"{_NOT_TOLD}: a log has no {first.name}"
        if first.interval is None:
            return f"{_NOT_TOLD}: too short to tell by; measure for 6 minutes at least, or run --pairs 3"
        if not first.is_told_apart:
            return f"{_NOT_TOLD} by {first.name}: {_percent(first.change)}, {_range(first)}"
        word = "better" if first.is_better else "worse"
        return f"B is {word} than A by {first.name}: {_percent(first.change)}, {_range(first)}"

    def to_json(self) -> dict[str, Any]:
        """For `--json`; changes are shares of A's value."""
        return {
            "scenario": str(self.scenario),
            "a": self.a,
            "b": self.b,
            "markers": dict(zip("ab", self.markers, strict=True)),
            "pairs": self.pairs,
            "paired_by_query": self.is_paired,
            "confidence": CONFIDENCE,
            "verdict": self.verdict,
            "told_apart": self.numbers[0].is_told_apart,
            "unlike": list(self.unlike),
            "changed": [{"what": what, "a": a, "b": b} for what, a, b in self.changed],
            "numbers": [_as_json(number) for number in self.numbers],
        }

    def table(self) -> Table:
        """The numbers, for people."""
        table = Table(title=f"{self.scenario}: {self.verdict}", title_justify="left")
        for heading in ("", "A", "B", "B against A", f"{CONFIDENCE:.0%} interval".replace("%", " %"), ""):
            table.add_column(heading, justify="left" if heading == "" else "right", no_wrap=True)
        for number in self.numbers:
            better = {True: "better", False: "worse", None: _NOT_TOLD}[number.is_better]
            a, b = ("-" if value is None else f"{value:,.2f}" for value in (number.a, number.b))
            change = "-" if number.change is None else _percent(number.change)
            table.add_row(number.name, a, b, change, _range(number), better)
        return table

    def notes(self) -> list[str]:
        """What a reader must know of how it was made, one sentence each."""
        return [
            *(f"unlike, and compared all the same: {reason}" for reason in self.unlike),
            *([self._pairing] if self.scenario.is_timed_per_token else []),
            *([_ONE_PAIR] if self.pairs == 1 else []),
            *([_SEVERAL] if len(self.numbers) > 1 else []),
        ]

    @property
    def _pairing(self) -> str:
        if self.is_paired:
            return "Each query is compared with itself: both asked the same ones at the same times."
        return "They asked other queries, or at other times: the spread of these is in the intervals."


_SEVERAL = "The verdict goes by the first number; of twenty others one leaves its interval by chance."


def compare(arms: Sequence[Sequence[Path]], *, force: bool = False) -> list[Comparison]:
    """Compare each system with the first, in every scenario that all have.

    Args:
        arms: The runs of each system; as many of each, in the order in which they ran.
        force: Compare what is unlike all the same.

    Raises:
        FolderError: A run cannot be read, or they are unlike.
    """
    assert len(arms) > 1 and len({len(arm) for arm in arms}) == 1, arms
    have = [set(scenarios_of(run)) for arm in arms for run in arm]
    scenarios = [scenario for scenario in Scenario if all(scenario in each for each in have)]
    if not scenarios:
        raise FolderError("the runs have no scenario in common", "Give runs of one scenario.")
    found = []
    for scenario in scenarios:
        first, *others = [[Side.read(run, scenario) for run in arm] for arm in arms]
        found += [_compare(scenario, first, other, force=force) for other in others]
    return found


def _compare(scenario: Scenario, a: Sequence[Side], b: Sequence[Side], *, force: bool) -> Comparison:
    pairs = list(zip(a, b, strict=True))
    reasons = tuple(dict.fromkeys(reason for side in (*a[1:], *b) for reason in unlike(a[0], side)))
    if reasons and not force:
        raise FolderError(
            f"{scenario}: these runs are unlike: {'; '.join(reasons)}",
            "Compare runs of one benchmark, data set, rate and limits, or pass --force.",
        )
    return Comparison(
        scenario=scenario,
        a=str(a[0].run),
        b=str(b[0].run),
        markers=(_marker(a), _marker(b)),
        pairs=len(pairs),
        is_paired=all(are_paired(*pair) for pair in pairs),
        unlike=reasons,
        changed=tuple(differences(a[0], b[0])),
        numbers=tuple(difference(number, pairs) for number in numbers_of(a[0])),
    )


def _marker(arm: Sequence[Side]) -> str:
    return "; ".join(dict.fromkeys(side.record.marker for side in arm if side.record.marker))


def _as_json(number: Difference) -> dict[str, Any]:
    interval = number.interval
    return {
        "name": number.name,
        "a": number.a,
        "b": number.b,
        "change": None if number.change is None else math.expm1(number.change),
        "interval": None if interval is None else [math.expm1(interval.low), math.expm1(interval.high)],
        "told_apart": number.is_told_apart,
        "better": number.is_better,
    }


def _percent(change: float) -> str:
    return f"{math.expm1(change) * 100:+.2f} %"


def _range(number: Difference) -> str:
    if number.interval is None:
        return "too short to tell"
    return f"{_percent(number.interval.low)} to {_percent(number.interval.high)}"
