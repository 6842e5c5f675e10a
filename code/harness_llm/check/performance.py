"""Checks of a performance run's logs: is it whole, was it legal, is it VALID."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from harness_llm import rules
from harness_llm.check.case import Case
from harness_llm.check.figures import figure_checks
from harness_llm.check.judgement import INFERENCE, Check
from harness_llm.check.loadgen_summary import summary_checks
from harness_llm.check.logfile import audit_check, error_check, loadgen_check, log_checks, seed_check
from harness_llm.check.outcome import outcome_checks
from harness_llm.check.replay import replay_checks
from harness_llm.core import Scenario
from harness_llm.logs.source import ACCURACY_LOG


def _whole(case: Case) -> Iterator[Check]:
    yield from log_checks(case, "performance", case.detail, "PerformanceOnly")


def _verdict(case: Case) -> Iterator[Check]:
    detail = case.detail
    reasons = str(detail.value("result_invalid_reason") or "").strip()
    early = [str(detail.value(f"early_stopping_{kind}_result") or "").strip() for kind in ("ttft", "tpot")]
    why = "; ".join(filter(None, (reasons, *(text for text in early if "unsuccessful" in text))))
    yield case.check(
        "performance.validity",
        bool(detail.is_valid),
        f"{detail.value('result_validity')}{': ' + why if why else ''}",
        "VALID",
        source=f"{INFERENCE} loadgen/results.cc lines 509-518",
        remedy="Change what LoadGen names (rate, duration, latency) and run the test again.",
        path=detail.path,
    )
    keys = ["result_min_duration_met", "result_min_queries_met", "early_stopping_met"]
    keys += ["result_perf_constraints_met"] if case.scenario is not Scenario.OFFLINE else []
    unmet = [key for key in keys if detail.value(key) is not True]
    yield case.check(
        "performance.constraints",
        not unmet,
        ", ".join(f"{key} {detail.value(key)}" for key in unmet) or "all met",
        "every constraint of LoadGen met",
        source=f"{INFERENCE} loadgen/results.cc lines 674-681",
        remedy="Change what LoadGen names and run the test again.",
        path=detail.path,
    )


def _duration(case: Case) -> Iterator[Check]:
    """The setting, and how long the run was by LoadGen's own measure."""
    detail = case.detail
    wanted, source = _wanted_duration_ms(case)
    yield case.judged(rules.min_duration(wanted, case.logged, source), detail.path)
    lasted_ns = _lasted_ns(case)
    yield case.check(
        "performance.duration",
        lasted_ns is not None and lasted_ns >= wanted * 10**6,
        "unknown" if lasted_ns is None else f"{lasted_ns / 1e9:.3f} s",
        f"at least {wanted / 1000:g} s",
        source=f"{source}; {INFERENCE} loadgen/results.cc lines 287-305",
        remedy="Raise target_qps to what the system really reaches, so that LoadGen makes enough queries.",
        path=detail.path,
    )


def _wanted_duration_ms(case: Case) -> tuple[int, str]:
    if case.rules:
        return case.rules.min_duration_ms, rules.table().run.min_duration_ms.source
    return int(case.settings.get("min_duration", 0)), str(case.user_conf.name)


def _lasted_ns(case: Case) -> float | None:
    """Offline: latency of the last sample. Server: time at which the last query was due."""
    detail = case.detail
    if case.scenario is Scenario.OFFLINE:
        return detail.number("result_max_latency_ns")
    count, rate = detail.integer("result_query_count"), detail.number("result_scheduled_samples_per_sec")
    if count is None or not rate or rate <= 0:
        return None
    # LoadGen writes the rate with 6 digits; half of the last digit is granted.
    return (count - 1) / rate * 1e9 * (1 + 5e-6)


def _samples(case: Case) -> Iterator[Check]:
    detail = case.detail
    loaded = detail.integer("effective_performance_sample_count")
    if case.rules:
        yield case.judged(rules.sample_count(case.rules, case.logged), detail.path)
    yield from _issued(case, loaded)
    if case.rules:
        yield case.judged(rules.equal_issue(case.rules, case.logged), detail.path)


def _issued(case: Case, loaded: int | None) -> Iterator[Check]:
    detail = case.detail
    offline = case.scenario is Scenario.OFFLINE
    issued = detail.integer("generated_samples_per_query" if offline else "result_query_count")
    generated = detail.integer("generated_query_count")
    least = case.rules.samples.offline_minimum if case.rules and offline else 1
    whole = case.rules is not None and bool(loaded)
    fits = issued is not None and issued >= least and not (whole and loaded and issued % loaded)
    yield case.check(
        "performance.issued",
        fits and (offline or issued == generated),
        f"{issued} samples issued, {generated} queries made",
        f"at least {least}" + (f", a multiple of {loaded}" if whole else "") + ", all of them",
        source=case.rules.samples.source if case.rules else f"{INFERENCE} loadgen/loadgen.cc lines 316-334",
        remedy="Run the test to its end with the rules' sample counts.",
        path=detail.path,
    )
    if case.rules and offline:
        finding = rules.samples_per_query(case.rules, case.scenario, case.logged)
        yield case.judged(finding, detail.path, is_note=not case.is_strict)


def _token_latencies(case: Case) -> Iterator[Check]:
    if not case.rules and not case.scenario.is_timed_per_token:
        return
    source = case.rules.conf_source if case.rules else f"{INFERENCE} loadgen/results.cc lines 496-506"
    finding = rules.token_latencies(source, case.loadgen_model, case.logged)
    yield case.judged(finding, case.detail.path)


def _left_overs(case: Case) -> Iterator[Check]:
    """Settings of a compliance or trial run that must not reach a performance run."""
    bounds_only = all(key.startswith("max_") for key in case.logged.left_over)
    finding = rules.left_overs(case.logged)
    yield case.judged(finding, case.detail.path, is_note=bounds_only and not case.is_strict)


def _metric(case: Case) -> Iterator[Check]:
    """The metric of LLMs; an own benchmark's Offline run may have samples per second alone."""
    found = case.detail.tokens_per_second
    samples = case.detail.samples_per_second
    passed: bool | None = found is not None and math.isfinite(found) and found > 0
    is_not_asked = found is None and case.rules is None and case.scenario is Scenario.OFFLINE
    if is_not_asked and samples is not None and math.isfinite(samples) and samples > 0:
        passed = None
    yield case.check(
        "performance.metric",
        passed,
        f"{found} tokens/s" if passed is not None else f"{samples:g} samples/s, use_token_latencies is off",
        "tokens per second above 0",
        source=f"{INFERENCE} tools/submission/submission_checker/constants.py lines 1592-1735",
        remedy="Report n_tokens with every completed sample.",
        path=case.detail.path,
    )


def _answers(case: Case) -> Iterator[Check]:
    path: Path = case.performance / ACCURACY_LOG
    if not path.is_file():
        return
    size = path.stat().st_size
    yield case.check(
        "performance.no-answers",
        size <= 64,
        f"{size} bytes",
        "no logged answers in a performance run",
        remedy="This is the log of an accuracy or compliance run: put the right one here.",
        path=path,
    )


def _network(case: Case) -> Iterator[Check]:
    if case.division != "network":
        return
    found, wanted = case.detail.value("sut_name"), "Network SUT"
    yield case.check(
        "performance.sut-name",
        wanted in str(found),
        found,
        f"a name with {wanted!r} in it",
        source=f"{INFERENCE} tools/submission/submission_checker/checks/performance_check.py lines 424-434",
        remedy="Give LoadGen that name of the system under test, or submit under closed.",
        path=case.detail.path,
    )


def _errors(case: Case) -> Iterator[Check]:
    yield from error_check(case, "performance.errors", case.detail)


def _seeds(case: Case) -> Iterator[Check]:
    yield from seed_check(case, "performance", case.detail)


def _origin(case: Case) -> Iterator[Check]:
    yield from loadgen_check(case, "performance", case.detail)
    yield from audit_check(case, "performance", case.detail)
    yield from replay_checks(case, "performance", case.detail)


# The first two hold also where the detail log has nothing to read.
PERFORMANCE_CHECKS = (
    _whole,
    summary_checks,
    _verdict,
    figure_checks,
    _errors,
    _seeds,
    _origin,
    outcome_checks,
    _duration,
    _samples,
    _token_latencies,
    _left_overs,
    _metric,
    _network,
    _answers,
)
