"""What a check says, and a report of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness_llm.errors import BROKEN_INPUT, named
from harness_llm.rules import Finding, expand_source

INFERENCE = "mlcommons/inference @b66003e1"
POLICIES = "mlcommons/inference_policies @ac93e89c"
_LONGEST_TEXT = 100_000


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What was looked at, `area.subject`; the same subject has the same name everywhere.
        passed: True where it is as it must be; False where a rule is broken or the result is in doubt; None
            for a note: true and worth knowing, but against no rule, or nothing that could be judged.
        found: What is there.
        required: What must be there.
        source: The rule, LoadGen or checker line that asks for it; empty where it is this project's own.
        remedy: What to do about it, as an imperative sentence; empty where it passed.
        path: The file or folder, relative to what was checked.
        result: Folder of the result that it speaks of; empty where it is about all of them.
    """

    name: str
    passed: bool | None
    found: str
    required: str
    source: str = ""
    remedy: str = ""
    path: str = ""
    result: str = ""

    @property
    def verdict(self) -> str:
        """`pass`, `note` or `fail`."""
        return {True: "pass", None: "note", False: "fail"}[self.passed]


def judged(finding: Finding, path: str, *, is_note: bool = False) -> Check:
    """What a rule says of a run, as a check.

    Args:
        finding: The rule's verdict.
        path: The file that it speaks of, relative to what is checked.
        is_note: Whether a broken rule is a note here, as in open.
    """
    passed = None if is_note and finding.passed is False else finding.passed
    remedy = finding.remedy if passed is False else ""
    source = expand_source(finding.source)
    return Check(finding.name, passed, finding.found, finding.required, source, remedy, path)


@dataclass(frozen=True)
class Report:
    """Every check of one run folder or tree.

    Attributes:
        kind: `run` or `tree`.
        target: What was checked, as given.
        round: Round whose rules were applied.
        label: `official`, `unofficial`, or `mixed`: which benchmarks the target holds.
        simulated: Whether answers were made up, so that no number is a result.
        checks: The checks, in the order they were made.
    """

    kind: str
    target: str
    round: str
    label: str
    simulated: bool
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed and something was judged."""
        return not self.failures and any(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.passed is False)

    @property
    def results(self) -> dict[str, str]:
        """The verdict of each result by its own checks, in the order in which they were judged."""
        failed = {check.result for check in self.failures}
        places = dict.fromkeys(check.result for check in self.checks if check.result)
        return {place: "fail" if place in failed else "pass" for place in places}

    @property
    def counts(self) -> dict[str, int]:
        """How many checks passed and failed, and how many notes there are."""
        counts = Counter(check.verdict for check in self.checks)
        return {"passed": counts["pass"], "failed": counts["fail"], "notes": counts["note"]}

    def to_json(self) -> dict[str, Any]:
        """The report for machines; every value is text, a number, a boolean or None."""
        return {
            "format": 2,
            "kind": self.kind,
            "target": self.target,
            "round": self.round,
            "label": self.label,
            "simulated": self.simulated,
            "passed": self.passed,
            "counts": self.counts,
            "results": self.results,
            "checks": [{**asdict(check), "verdict": check.verdict} for check in self.checks],
        }


def check_name(area: str, subject: str) -> str:
    """The whole name of a check that holds for any log: `accuracy.seeds`, `compliance.TEST06-seeds`."""
    return f"{area}{'-' if '.' in area else '.'}{subject}"


def guarded(name: str, path: str, run: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Run one check function; files that are broken beyond what it expects are a failed check."""
    try:
        for check in run():
            yield _plain(check)
    except BROKEN_INPUT as error:
        yield _plain(
            Check(
                f"{name}.readable",
                False,
                named(error),
                "files that can be read as what they are",
                remedy="Replace the damaged file with the one that was measured.",
                path=path,
            )
        )


def _plain(check: Check) -> Check:
    """Texts for any terminal and JSON reader: no lone surrogates, no control characters, not endless."""
    return replace(
        check,
        found=_clean(check.found),
        required=_clean(check.required),
        remedy=_clean(check.remedy),
        path=_clean(check.path),
    )


def _clean(text: str) -> str:
    if len(text) <= _LONGEST_TEXT and text.isprintable():
        return text
    shown = text.encode("utf-8", "backslashreplace").decode()
    shown = "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in shown)
    return shown if len(shown) <= _LONGEST_TEXT else shown[:_LONGEST_TEXT] + "…"
