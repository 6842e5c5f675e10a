"""Checks of compliance runs: there, verified, and really run with the round's audit settings."""

from collections.abc import Iterator
from pathlib import Path

from harness_llm.check.case import Case
from harness_llm.check.logfile import error_check
from harness_llm.check.model import INFERENCE, Check
from harness_llm.compliance import AUDIT_TESTS, AuditTest
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import BROKEN_INPUT, DatasetError
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import ACCURACY_LOG, DETAIL_LOG, read_text
from harness_llm.results.paths import TEST_JSON
from harness_llm.results.reading import sound_record
from harness_llm.results.records import TestRecord

_CHECKER = f"{INFERENCE} tools/submission/submission_checker/checks/compliance_check.py"


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
        test = AUDIT_TESTS.get(name)
        if test is None:
            yield case.check(f"compliance.{name}", None, "a test that the rules table lacks", "", path=folder)
            continue
        yield from _verification(case, test, folder)
        yield from _audit(case, test, folder)
        yield from _answers(case, test, folder)
        yield from _dataset(case, name, folder)


def _verification(case: Case, test: AuditTest, folder: Path) -> Iterator[Check]:
    path = folder / test.row.result_file
    text, problem = read_text(path)
    for line in test.verdict_lines(case.scenario):
        passed, said = line.in_(text)
        yield case.check(
            f"compliance.{test.name}-{line.subject}",
            passed,
            str(problem or said or "no such line"),
            " or ".join(line.accepted),
            source=f"{_CHECKER} lines 323-375",
            remedy=f"Correct the {line.shown} of the answers, run {test.name} again and verify it.",
            path=path,
        )


def _audit(case: Case, test: AuditTest, folder: Path) -> Iterator[Check]:
    """The settings that LoadGen logged in the compliance run are those of the round's audit.config."""
    path = test.find(folder, DETAIL_LOG)
    if path is None:
        if case.layout == "run":
            yield case.check(
                f"compliance.{test.name}-log",
                False,
                "is missing",
                "LoadGen's detail log",
                remedy=f"Run {test.name} again.",
                path=folder,
            )
        return
    detail = DetailLog.read(path)
    wanted = test.logged_settings(case.scenario, case.round)
    wrong = [f"{key} {detail.value(key)}" for key, value in wanted.items() if detail.value(key) != value]
    yield case.check(
        f"compliance.{test.name}-settings",
        not wrong and not detail.problems,
        "; ".join(wrong) or "; ".join(map(str, detail.problems[:2])) or "the round's",
        ", ".join(f"{key} {value}" for key, value in wanted.items()),
        source=test.row.source,
        remedy=f"Run {test.name} with this round's audit.config.",
        path=path,
    )
    yield from error_check(case, f"compliance.{test.name}-errors", detail, is_note=True)


def _answers(case: Case, test: AuditTest, folder: Path) -> Iterator[Check]:
    """What can be verified again from the answers, as far as they are in the run or tree."""
    path = test.find(folder, ACCURACY_LOG)
    if path is None:
        return
    found = test.recheck(path, case.scenario, case.end_tokens)
    # A tree may have been verified by the official script, which accepts what the remarks say.
    remarks = found.remarks if case.layout == "tree" else ()
    faults = found.faults if remarks else (*found.faults, *found.remarks)
    yield case.check(
        f"compliance.{test.name}-answers",
        False if faults else (None if remarks else True),
        "; ".join((*faults, *remarks)[:3]) or "as required",
        found.required,
        source=found.source,
        remedy=f"Correct what is named, run {test.name} again and verify it.",
        path=path,
    )


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


COMPLIANCE_CHECKS = (_tests,)
