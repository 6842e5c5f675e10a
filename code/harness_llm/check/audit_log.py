"""Checks of LoadGen's logs of a compliance run: an own run, of this benchmark, with audit.config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness_llm.check.case import Case
from harness_llm.check.figures import measured_checks
from harness_llm.check.judgement import Check
from harness_llm.check.loadgen_summary import summary_checks
from harness_llm.check.logfile import audit_check, error_check, loadgen_check, log_checks, seed_check
from harness_llm.check.outcome import outcome_checks
from harness_llm.check.replay import replay_checks
from harness_llm.check.ties import tie_checks
from harness_llm.compliance import AuditTest
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import SUMMARY_LOG, file_problem
from harness_llm.logs.summary import SummaryLog


def audit_log_checks(case: Case, test: AuditTest, detail: DetailLog) -> Iterator[Check]:
    """Whether the log of a compliance run is what it must be, and of the result in whose folder it lies.

    Args:
        case: The result.
        test: The compliance test.
        detail: LoadGen's detail log of it.
    """
    area = f"compliance.{test.name}"
    yield from log_checks(case, area, detail, "PerformanceOnly")
    if not detail.values:
        return
    wanted = test.logged_settings(case.scenario, case.round)
    wrong = [f"{key} {detail.value(key)}" for key, value in wanted.items() if detail.value(key) != value]
    yield case.check(
        f"{area}-settings",
        not wrong,
        "; ".join(wrong) or "the round's",
        ", ".join(f"{key} {value}" for key, value in wanted.items()),
        source=test.row.source,
        remedy=f"Run {test.name} with this round's audit.config.",
        path=detail.path,
    )
    yield from audit_check(case, area, detail, is_wanted=True)
    yield from error_check(case, f"{area}-errors", detail, is_note=True)
    yield from seed_check(case, area, detail)
    yield from loadgen_check(case, area, detail)
    yield from replay_checks(case, area, detail)
    if case.detail.values:
        yield from tie_checks(case, area, detail, is_same_data=test.asks_the_benchmarks_data)
    # The figures of the run itself, by the checks of a performance run.
    own = replace(case, performance=detail.path.parent)
    for check in (*measured_checks(own), *outcome_checks(own)):
        yield replace(check, name=f"{area}-{check.name.partition('.')[2]}")
    summary = detail.path.with_name(SUMMARY_LOG)
    if file_problem(summary) is None or case.layout == "tree":
        yield from summary_checks(case, area, SummaryLog.read(summary), detail)
