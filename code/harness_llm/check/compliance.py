"""Checks of compliance runs: there, verified, and really run with the round's audit settings."""

from collections.abc import Iterator
from pathlib import Path

from harness_llm import rules
from harness_llm.check.accuracy import possible_answers
from harness_llm.check.audit_log import audit_log_checks
from harness_llm.check.case import Case
from harness_llm.check.judgement import INFERENCE, Check
from harness_llm.check.ties import drawn_check
from harness_llm.compliance import AUDIT_TESTS, AuditTest
from harness_llm.core import Scenario
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import BROKEN_INPUT, DatasetError
from harness_llm.logs.accuracy_log import AccuracyLog
from harness_llm.logs.draws import MOST_SAMPLES, Draw
from harness_llm.logs.source import read_text
from harness_llm.results.paths import AUDIT_CONF, TEST_JSON
from harness_llm.results.reading import sound_record
from harness_llm.results.records import TestRecord

_CHECKER = f"{INFERENCE} tools/submission/submission_checker/checks/compliance_check.py"
_FEWEST_DRAWN = 1024
# The harness's own, where a test has a data set of its own (AuditTest.audit).
_OWN_DATA = ".performance_sample_count_override"


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
            remedy=f"Verify the answers again; if they fail, correct the {line.shown} and run "
            f"{test.name} again.",
            path=path,
        )


def _audit(case: Case, test: AuditTest, folder: Path) -> Iterator[Check]:
    """LoadGen's log of the compliance run, and the audit.config that it read."""
    detail = case.test_details.get(test.name)
    if detail is not None:
        yield from audit_log_checks(case, test, detail)
    else:
        # TEST06's official script keeps the answers alone; whoever keeps a log keeps it of each scenario.
        needed = case.layout == "run" or case.keeps_test_logs or test.name != "TEST06"
        yield case.check(
            f"compliance.{test.name}-log",
            False if needed else None,
            "is missing",
            "LoadGen's detail log of the run" if needed else "LoadGen's detail log, which shows what was run",
            source=f"{INFERENCE} compliance/{test.name}/run_verification.py",
            remedy=f"Put the log of the {test.name} run here, or run {test.name} again.",
            path=folder,
        )
    yield from _audit_file(case, test, folder)


def _audit_file(case: Case, test: AuditTest, folder: Path) -> Iterator[Check]:
    """The audit.config, if the submitter kept it with the run: each line must be the round's own."""
    path = folder / AUDIT_CONF
    if not path.is_file():
        return
    text, problem = read_text(path)
    found = _settings(text)
    extra = {key for key in found if key.endswith(_OWN_DATA)}
    wanted = _settings(test.audit())
    wrong = [
        f"{key} {found.get(key, 'missing')}"
        for key in sorted((found.keys() | wanted.keys()) - extra)
        if found.get(key) != wanted.get(key)
    ]
    yield case.check(
        f"compliance.{test.name}-audit-file",
        problem is None and not wrong,
        str(problem or "; ".join(wrong) or f"{len(found)} settings"),
        ", ".join(f"{key} {value}" for key, value in wanted.items()),
        source=test.row.source,
        remedy=f"Run {test.name} with the round's audit.config.",
        path=path,
    )


def _settings(text: str) -> dict[str, str]:
    """Key and value of each line; a key that comes twice has both, so that neither hides the other."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("#")[0].partition("="))
        if key:
            found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _answers(case: Case, test: AuditTest, folder: Path) -> Iterator[Check]:
    """The answers: there, those that LoadGen drew, and verified again as far as they are there."""
    log = case.test_answers.get(test.name)
    if log is None:
        yield case.check(
            f"compliance.{test.name}-answers",
            False if case.layout == "run" or case.division != "open" else None,
            "are missing",
            "LoadGen's accuracy log of the run",
            source=f"{INFERENCE} compliance/{test.name}/run_verification.py, main; "
            f"{INFERENCE} compliance/TEST07/README.md, Part IV",
            remedy=f"Put the accuracy log of the {test.name} run here; its verification copies it.",
            path=folder,
        )
        return
    yield from drawn_check(case, f"compliance.{test.name}", log, _draws(case, test, log))
    yield from _all_answered(case, test, log)
    if log.entries:
        yield from possible_answers(case, f"compliance.{test.name}", log)
    found = test.recheck(log.path, case.scenario, case.end_tokens)
    # A tree may have been verified by the official script, which accepts what the remarks say.
    remarks = found.remarks if case.layout == "tree" else ()
    faults = found.faults if remarks else (*found.faults, *found.remarks)
    yield case.check(
        f"compliance.{test.name}-answers",
        False if faults else (None if remarks else True),
        "; ".join((*faults, *remarks)) or "as required",
        found.required,
        source=found.source,
        remedy=f"Put the whole accuracy log of the {test.name} run here; if it is this one, correct what is "
        "named, run it again and verify it.",
        path=log.path,
    )


def _all_answered(case: Case, test: AuditTest, log: AccuracyLog) -> Iterator[Check]:
    """LoadGen logs every answer of a run that is no longer than what it was asked to sample."""
    detail = case.test_details.get(test.name)
    if detail is None or log.is_truncated:
        return
    offline = case.scenario is Scenario.OFFLINE
    issued = detail.integer("generated_samples_per_query" if offline else "generated_query_count")
    sampled = detail.integer("effective_accuracy_log_sampling_target")
    if issued is None or sampled is None or issued > sampled:
        return
    yield case.check(
        f"compliance.{test.name}-answered-samples",
        log.entries == issued,
        f"{log.entries} answers",
        f"an answer to each of {issued} samples",
        source=f"{INFERENCE} loadgen/loadgen.cc lines 460-480",
        remedy=f"Put the whole accuracy log of the {test.name} run here.",
        path=log.path,
    )


def _draws(case: Case, test: AuditTest, log: AccuracyLog) -> dict[str, Draw]:
    """Which samples the run may have asked: by its own log, else by the round's seeds, or without any."""
    detail = case.test_details.get(test.name)
    if detail is not None:
        own = Draw.of_log(detail)
        return {"its detail log": own} if own else {}
    size = case.rules.samples.performance if case.rules else None
    if size is None or not log.numbers or test.name != "TEST06":
        return {}
    # Rounded up, so that one draw serves many logs: what comes later changes nothing before it.
    count = max(_FEWEST_DRAWN, 1 << max(number for number, _ in log.numbers).bit_length())
    seeds = rules.round_seeds(case.round)
    return {
        name: Draw(qsl, index, size, count, case.scenario is Scenario.OFFLINE)
        for name, qsl, index in (
            (f"the seeds of {case.round}", seeds.qsl, seeds.sample_index),
            ("seeds 0, without mlperf.conf", 0, 0),
        )
        if count <= MOST_SAMPLES
    }


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
