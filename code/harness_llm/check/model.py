"""What a check says, and a report of many."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from harness_llm.errors import BROKEN_INPUT
from harness_llm.rules import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["INFERENCE", "POLICIES", "Check", "Report", "guarded"]

INFERENCE = "mlcommons/inference @b66003e1"
POLICIES = "mlcommons/inference_policies @ac93e89c"
_LONGEST_TEXT = 600
_SHARED_BY = 3  # so many files with the same failure are shown as one
_SHOWN_PATHS = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What was looked at, `area.subject`; the same subject has the same name everywhere.
        passed: Whether it is as it must be; None where it could not be judged or is reported only.
        found: What is there.
        required: What must be there.
        source: The rule, LoadGen or checker line that asks for it; empty where it is this project's own.
        remedy: What to do about it, as an imperative sentence; empty where it passed.
        path: The file or folder, relative to what was checked.
    """

    name: str
    passed: bool | None
    found: str
    required: str
    source: str = ""
    remedy: str = ""
    path: str = ""


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

    def to_json(self) -> dict[str, Any]:
        """The report for machines; every value is text, a number, a boolean or None."""
        counts = Counter({True: "passed", False: "failed", None: "not_judged"}[c.passed] for c in self.checks)
        return {
            "format": 1,
            "kind": self.kind,
            "target": self.target,
            "round": self.round,
            "label": self.label,
            "simulated": self.simulated,
            "passed": self.passed,
            "counts": {key: counts[key] for key in ("passed", "failed", "not_judged")},
            "checks": [asdict(check) for check in self.checks],
        }

    def render(self, *, only_failures: bool = False) -> str:
        """The report for people, grouped by file: what passed in a line, what failed with what to do.

        A failure that many files share, such as the seeds of another round, stands once, before all others.

        Args:
            only_failures: Leave out what passed or could not be judged.
        """
        shared: dict[Check, list[str]] = {}
        for check in self.failures:
            shared.setdefault(replace(check, path=""), []).append(check.path or self.target)
        shared = {check: paths for check, paths in shared.items() if len(paths) >= _SHARED_BY}
        blocks = ["\n".join([*_shown_paths(paths), *_lines(check)]) for check, paths in shared.items()]
        groups: dict[str, list[Check]] = {}
        for check in self.checks:
            wanted = check.passed is False or not only_failures
            if wanted and replace(check, path="") not in shared:
                groups.setdefault(check.path, []).append(check)
        for path, checks in groups.items():
            blocks.append("\n".join([path or self.target, *(line for c in checks for line in _lines(c))]))
        return "\n\n".join([*blocks, self._verdict()])

    def _verdict(self) -> str:
        counts = self.to_json()["counts"]
        simulated = f"; {SIMULATED}" if self.simulated else ""
        verdict = "PASSED" if self.passed else "FAILED"
        return (
            f"{verdict} by the rules of {self.round} ({self.label}{simulated}): "
            f"{counts['passed']} passed, {counts['failed']} failed, {counts['not_judged']} not judged"
        )


def _shown_paths(paths: list[str]) -> list[str]:
    more = len(paths) - _SHOWN_PATHS
    return [*paths[:_SHOWN_PATHS], *([f"and {more} more"] if more > 0 else [])]


def _lines(check: Check) -> list[str]:
    """One line for what passed or was not judged; a block with the rule and the remedy for what failed."""
    if check.passed is not False:
        required = f" (required: {check.required})" if check.required not in ("", check.found) else ""
        return [f"  {'pass' if check.passed else '-   '}  {check.name}: {check.found}{required}"]
    parts = {
        "found": check.found,
        "required": check.required,
        "do": check.remedy,
        "rule": check.source,
    }
    return [f"  FAIL  {check.name}", *(f"        {key:<9} {text}" for key, text in parts.items() if text)]


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
                f"{type(error).__name__}: {error}",
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
    shown = text.encode("utf-8", "backslashreplace").decode()
    shown = "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in shown)
    return shown if len(shown) <= _LONGEST_TEXT else shown[:_LONGEST_TEXT] + "…"
