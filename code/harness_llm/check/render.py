"""A report for people: verdict of each result, then what failed by kind, then notes by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from harness_llm.check.judgement import Check, Report
from harness_llm.rules import SIMULATED

_SHARED_BY = 3  # so many failures of one kind are shown as one
_SHOWN_PLACES = 3
_SHOWN_RESULTS = 12
_LONGEST_TEXT = 600


def render(report: Report, *, only_failures: bool = False, every: bool = False) -> str:
    """The report as text: verdict of each result, what failed with what to do, notes, counts.

    A kind of failure that comes often stands once, with its first places; `every` lists them all.

    Args:
        report: The report.
        only_failures: Leave out notes and what passed.
        every: Every check by its file, also what passed.
    """
    blocks = [_result_lines(report.results, report.failures)] if report.results else []
    blocks += _kind_blocks(report.failures, report.target, every=every)
    if not only_failures:
        notes = [check for check in report.checks if check.passed is None]
        blocks += _kind_blocks(notes, report.target, every=every) if every else [_note_lines(notes)]
        if every:
            passed: dict[str, list[Check]] = {}
            for check in report.checks:
                if check.passed:
                    passed.setdefault(check.path or report.target, []).append(check)
            blocks += _file_blocks(passed, every=True)
    return "\n\n".join([*filter(None, blocks), _verdict(report)])


def _verdict(report: Report) -> str:
    counts = report.counts
    simulated = f"; {SIMULATED}" if report.simulated else ""
    verdict = "PASSED" if report.passed else "FAILED"
    return (
        f"{verdict} by the rules of {report.round} ({report.label}{simulated}): "
        f"{counts['passed']} passed, {counts['failed']} failed, {counts['notes']} notes"
    )


def _result_lines(results: Mapping[str, str], failures: Iterable[Check]) -> str:
    """A line for each result; where there are many, only the failed ones and a count."""
    counted = Counter(check.result for check in failures)
    shown = [
        f"  {verdict.upper() if verdict == 'fail' else verdict}  {place}"
        + (f": {counted[place]} failed" if counted[place] else "")
        for place, verdict in results.items()
        if len(results) <= _SHOWN_RESULTS or verdict == "fail"
    ]
    good = sum(verdict == "pass" for verdict in results.values())
    return "\n".join([f"{good} of {len(results)} results pass by their own checks", *shown])


def _kind_blocks(checks: Iterable[Check], target: str, *, every: bool) -> list[str]:
    """A block for each kind with many places; the rest by the file that they are about.

    Args:
        checks: Failures, or notes.
        target: What was checked, for checks that name no file.
        every: Whether to list every place, and every text in full.
    """
    kinds: dict[tuple[str, str, str], list[Check]] = {}
    for check in checks:
        kinds.setdefault((check.name, check.remedy, check.source), []).append(check)
    by_file: dict[str, list[Check]] = {}
    blocks = []
    for some in kinds.values():
        if len(some) >= _SHARED_BY:
            blocks.append("\n".join(_kind(some, target, every=every)))
            continue
        for check in some:
            by_file.setdefault(check.path or target, []).append(check)
    return blocks + _file_blocks(by_file, every=every)


def _file_blocks(by_file: Mapping[str, Iterable[Check]], *, every: bool) -> list[str]:
    """A block for each file, with its checks."""
    return [
        "\n".join([path, *(line for check in some for line in _lines(check, every=every))])
        for path, some in by_file.items()
    ]


def _note_lines(notes: Iterable[Check]) -> str:
    """A line for each kind of note: how often, and what the first one found."""
    kinds: dict[str, list[Check]] = {}
    for check in notes:
        kinds.setdefault(check.name, []).append(check)
    lines = []
    for name, checks in kinds.items():
        count = f" ({len(checks)} times)" if len(checks) > 1 else ""
        found = _shortened(checks[0].found, every=False)
        lines.append(f"  note  {name}{count}: {found}" + (f" [{checks[0].path}]" if count else ""))
    return "\n".join(lines) + (
        "\n  (--all lists each)" if any(len(some) > 1 for some in kinds.values()) else ""
    )


def _kind(checks: list[Check], target: str, *, every: bool) -> Iterator[str]:
    """What is the same for all once, then each finding with its places."""
    first = checks[0]
    yield f"  {_word(first)}  {first.name} ({len(checks)} times)"
    required = {check.required for check in checks}
    if len(required) == 1:
        yield from _parts({"required": first.required}, every=every)
    yield from _parts({"do": first.remedy, "rule": first.source}, every=every)
    findings: dict[tuple[str, str], list[str]] = {}
    for check in checks:
        findings.setdefault((check.found, check.required), []).append(check.path or target)
    for (found, wanted), places in findings.items():
        yield from _parts({"found": found, "required": wanted if len(required) > 1 else ""}, every=every)
        shown = places if every or len(places) <= _SHOWN_PLACES else places[:_SHOWN_PLACES]
        yield from (f"          {place}" for place in shown)
        if len(shown) < len(places):
            yield f"          and {len(places) - len(shown)} more (--all lists them)"


def _lines(check: Check, *, every: bool) -> list[str]:
    """One line for what passed or is a note; a block with the rule and the remedy for what failed."""
    if check.passed is not False:
        required = f" (required: {check.required})" if check.required not in ("", check.found) else ""
        return [f"  {check.verdict}  {check.name}: {check.found}{required}"]
    parts = {
        "found": check.found,
        "required": check.required,
        "do": check.remedy,
        "rule": check.source,
    }
    return [f"  FAIL  {check.name}", *_parts(parts, every=every)]


def _parts(parts: Mapping[str, str], *, every: bool) -> Iterator[str]:
    for key, text in parts.items():
        if text:
            yield f"        {key:<9} {_shortened(text, every=every)}"


def _shortened(text: str, *, every: bool) -> str:
    return text if every or len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… (--all shows the rest)"


def _word(check: Check) -> str:
    return "FAIL" if check.passed is False else check.verdict
