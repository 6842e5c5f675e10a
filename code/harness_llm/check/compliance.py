"""Checks of compliance runs: there, verified, and really run with the round's audit settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_llm import rules
from harness_llm.check.logfile import error_check
from harness_llm.check.model import INFERENCE
from harness_llm.core import Scenario
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import BROKEN_INPUT, DatasetError
from harness_llm.logs.accuracy_log import AccuracyEntry, AccuracyLog, iterate_entries
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import ACCURACY_LOG, DETAIL_LOG, LogError, read_text
from harness_llm.results.paths import TEST_JSON
from harness_llm.results.reading import sound_record
from harness_llm.results.records import TestRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness_llm.check.case import Case
    from harness_llm.check.model import Check
    from harness_llm.rules import ComplianceTest

__all__ = ["COMPLIANCE_CHECKS"]

_CHECKER = f"{INFERENCE} tools/submission/submission_checker/checks/compliance_check.py"
_LINES = {
    "first_token": (("First token check pass: True", "First token check pass: Skipped"), "first token"),
    "eos": (("EOS check pass: True",), "end of sequence"),
    "length": (("Sample length check pass: True",), "sample length"),
    "accuracy": (("TEST PASS",), "accuracy"),
    "output_length": (("TEST PASS",), "output length"),
}


def _tests(case: Case) -> Iterator[Check]:
    asked = case.rules.row.compliance if case.rules and case.is_strict else ()
    for name in dict.fromkeys((*asked, *case.tests)):
        folder = case.tests.get(name)
        if folder is None:
            needed = case.layout == "tree"
            yield case.check(
                f"compliance.{name}",
                False if needed else None,
                "was not run",
                f"a {name} run of {case.scenario}",
                source=case.rules.row.source if case.rules else "",
                remedy=f"Run {name} and package again.",
            )
            continue
        test = rules.table().tests.get(name)
        if test is None:
            yield case.check(f"compliance.{name}", None, "a test that the rules table lacks", "", path=folder)
            continue
        yield from _verification(case, name, folder, test)
        yield from _audit(case, name, folder, test)
        yield from _answers(case, name, folder, test)
        yield from _dataset(case, name, folder)


def _verification(case: Case, name: str, folder: Path, test: ComplianceTest) -> Iterator[Check]:
    path = folder / test.result_file
    text, problem = read_text(path)
    lines = {line.strip() for line in text.splitlines()}
    for subject in test.verifies:
        wanted, shown = _LINES[subject]
        if subject == "first_token" and case.scenario is not Scenario.OFFLINE:
            wanted = wanted[:1]
        beginning = wanted[0].partition(":")[0].removesuffix(" PASS")
        said = [
            line for line in sorted(lines) if line.startswith((beginning, "Accuracy score", "Mean output"))
        ]
        yield case.check(
            f"compliance.{name}-{subject.replace('_', '-')}",
            bool(lines & set(wanted)) and "TEST FAIL" not in lines,
            str(problem or "; ".join(said) or "no such line"),
            " or ".join(wanted),
            source=f"{_CHECKER} lines 323-375",
            remedy=f"Correct the {shown} of the answers, run {name} again and verify it.",
            path=path,
        )


def _first_existing(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _audit(case: Case, name: str, folder: Path, test: ComplianceTest) -> Iterator[Check]:
    """The settings that LoadGen logged in the compliance run are those of the round's audit.config."""
    path = _first_existing(
        folder / "performance" / "run_1" / DETAIL_LOG,
        folder / DETAIL_LOG,
        folder / "performance" / DETAIL_LOG,
    )
    if path is None:
        if case.layout == "run":
            yield case.check(
                f"compliance.{name}-log",
                False,
                "is missing",
                "LoadGen's detail log",
                remedy=f"Run {name} again.",
                path=folder,
            )
        return
    detail = DetailLog.read(path)
    names = {
        "mode": ("effective_test_mode", "PerformanceOnly"),
        "min_duration": ("requested_min_duration_ms", test.audit["min_duration"]),
    }
    wanted = {
        log_name: value
        for key, given in test.audit.items()
        for log_name, value in [names.get(key, (f"requested_{key}", given))]
    }
    wanted["effective_scenario"] = case.scenario.loadgen_name
    wrong = [f"{key} {detail.value(key)}" for key, value in wanted.items() if detail.value(key) != value]
    yield case.check(
        f"compliance.{name}-settings",
        not wrong and not detail.problems,
        "; ".join(wrong) or "; ".join(map(str, detail.problems[:2])) or "the round's",
        ", ".join(f"{key} {value}" for key, value in wanted.items()),
        source=test.source,
        remedy=f"Run {name} with this round's audit.config.",
        path=path,
    )
    yield from error_check(case, f"compliance.{name}-errors", detail)


def _answers(case: Case, name: str, folder: Path, test: ComplianceTest) -> Iterator[Check]:
    """What can be verified again from the answers, where they lie whole in the run or tree."""
    path = _first_existing(folder / "accuracy" / ACCURACY_LOG, folder / ACCURACY_LOG)
    if path is None:
        return
    if name == "TEST06":
        faults = list(_faults(case, path))
        required = (
            "answers that begin with the reported first token, end at most once, and are as long as counted"
        )
        source = f"{INFERENCE} compliance/TEST06/run_verification.py lines 67-103"
    else:
        faults = list(_coverage_faults(path, test))
        bounds = test.tokens_per_sample
        required = f"an answer to each of {test.audit['min_query_count']} samples" + (
            "" if bounds is None else f", of {bounds['low']} to {bounds['high']} tokens in the mean"
        )
        source = test.source
    yield case.check(
        f"compliance.{name}-answers",
        not faults,
        "; ".join(faults[:3]) or "as required",
        required,
        source=source,
        remedy=f"Correct what is named, run {name} again and verify it.",
        path=path,
    )


def _coverage_faults(path: Path, test: ComplianceTest) -> Iterator[str]:
    """What speaks against a log that must hold every sample; one that was truncated is not judged."""
    log = AccuracyLog.read(path)
    if log.is_truncated:
        return
    yield from map(str, log.problems)
    needed = test.audit["min_query_count"]
    if len(log.samples) < needed:
        yield f"answers to {len(log.samples)} of {needed} samples"
    if log.count_mismatches:
        yield f"{log.count_mismatches} answers whose token_count is not the length of their data"
    mean, bounds = log.tokens_per_sample, test.tokens_per_sample
    if bounds is not None and (mean is None or not bounds["low"] <= mean <= bounds["high"]):
        yield "no token counts" if mean is None else f"{mean:.2f} tokens in the mean"


def _dataset(case: Case, name: str, folder: Path) -> Iterator[Check]:
    """In a run: the samples that test.json names are those in the run folder's file."""
    if case.layout != "run":
        return
    record, _ = sound_record(folder / TEST_JSON, TestRecord)
    described = record.dataset if record is not None else None
    if described is None:
        return
    path = case.root / described.file.rpartition("/")[2]
    try:
        table = SampleTable.load(path)
        found = f"{len(table)} samples, digest {table.digest}"
    except (DatasetError, *BROKEN_INPUT) as error:
        found = str(error) or type(error).__name__
    wanted = f"{described.samples} samples, digest {described.digest}"
    yield case.check(
        f"compliance.{name}-samples",
        found == wanted,
        found,
        wanted,
        source=TEST_JSON,
        remedy=f"Run {name} again: these are not the samples that it asked.",
        path=path,
    )


def _faults(case: Case, path: Path) -> Iterator[str]:
    ends = frozenset(token.to_bytes(4, "little").hex().upper() for token in case.end_tokens)
    entries, half_lines, cut = 0, 0, False
    for entry in iterate_entries(path):
        if entry is None:
            cut = True
        elif isinstance(entry, LogError):
            half_lines += 1
            if half_lines > 2 or entry.line == 0:
                yield str(entry)
                return
        else:
            entries += 1
            yield from _entry_faults(case, entry, ends)
    if half_lines and not cut:
        yield f"{half_lines} lines that are no entry"
    if not entries:
        yield "no answer"


def _entry_faults(case: Case, entry: AccuracyEntry, ends: frozenset[str]) -> Iterator[str]:
    if entry.token_count is None or len(entry.data) != 8 * entry.token_count:
        length = len(entry.data) / 8
        yield f"sample {entry.sample}: token_count {entry.token_count}, data of {length:g} tokens"
    if case.scenario.is_timed_per_token and (
        not entry.token_data or not entry.data.startswith(entry.token_data)
    ):
        reported = entry.token_data or "none"
        yield f"sample {entry.sample}: reported first token {reported}, {entry.data[:8]} in data"
    last = entry.data[-16:].upper()
    if len(entry.data) % 8 == 0 and last[:8] in ends and last[8:] in ends:
        yield f"sample {entry.sample}: ends with end of sequence twice"


COMPLIANCE_CHECKS = (_tests,)
