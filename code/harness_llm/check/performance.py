"""Checks of a performance run's logs: is it whole, was it legal, is it VALID."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from harness_llm import rules
from harness_llm.check.case import Case
from harness_llm.check.figures import figure_checks
from harness_llm.check.loadgen_summary import summary_checks
from harness_llm.check.logfile import audit_check, error_check, loadgen_check, log_checks, seed_check
from harness_llm.check.model import INFERENCE, POLICIES, Check
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
    setting = detail.integer("effective_min_duration_ms")
    yield case.check(
        "performance.min-duration",
        setting is not None and setting >= wanted,
        f"{setting} ms",
        f"at least {wanted} ms",
        source=source,
        remedy="Remove min_duration from user.conf, or raise it, and run the test again.",
        path=detail.path,
    )
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
    wanted = case.expected_samples
    if case.rules and wanted is not None:
        yield case.check(
            "performance.sample-count",
            loaded is not None and loaded >= wanted,
            loaded,
            f"at least {wanted}",
            source=case.rules.samples.source,
            remedy="Load the whole data set: remove performance_sample_count_override.",
            path=detail.path,
        )
    yield from _issued(case, loaded)
    equal = detail.value("effective_sample_concatenate_permutation")
    if case.rules:
        yield case.check(
            "performance.equal-issue",
            equal is True,
            f"sample_concatenate_permutation {equal}",
            "sample_concatenate_permutation true",
            source=case.rules.conf_source,
            remedy="Run under the official model name, and keep the key out of user.conf.",
            path=detail.path,
        )


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
        asked = detail.integer("effective_samples_per_query")
        enough = asked is not None and asked >= least
        yield case.check(
            "performance.samples-per-query",
            enough if case.is_strict else (enough or None),
            asked,
            f"at least {least}: what target_qps, min_duration and min_query_count ask for, before LoadGen "
            "fills the last copy of the data set",
            source=f"{INFERENCE} tools/submission/submission_checker/checks/"
            "performance_check.py lines 350-360",
            remedy=f"Set {case.loadgen_model}.Offline.min_query_count = {least} in user.conf and run the "
            "test again.",
            path=detail.path,
        )


def _token_latencies(case: Case) -> Iterator[Check]:
    if not case.rules and not case.scenario.is_timed_per_token:
        return
    found = case.detail.value("requested_use_token_latencies")
    yield case.check(
        "performance.token-latencies",
        found is True,
        f"use_token_latencies {found}",
        "use_token_latencies true",
        source=case.rules.conf_source if case.rules else f"{INFERENCE} loadgen/results.cc lines 496-506",
        remedy=f"Give LoadGen the model name {case.loadgen_model}, or set the key in user.conf.",
        path=case.detail.path,
    )


def _left_overs(case: Case) -> Iterator[Check]:
    """Settings of a compliance or trial run that must not reach a performance run."""
    detail = case.detail
    keys = (
        "performance_issue_unique",
        "performance_issue_same",
        "accuracy_log_sampling_target",
        "accuracy_log_rng_seed",
        "accuracy_log_probability",
        "max_duration_ms",
        "max_query_count",
    )
    left = [key for key in keys if detail.value(f"effective_{key}") not in (0, False, None)]
    bounds_only = all(key.startswith("max_") for key in left) and not case.is_strict
    yield case.check(
        "performance.no-audit",
        not left or (None if bounds_only else False),
        ", ".join(f"{key} {detail.value(f'effective_{key}')}" for key in left) or "none",
        "no setting of a compliance run, no upper bound",
        source=f"{POLICIES} inference_rules.adoc; {INFERENCE} compliance/TEST06/audit.config",
        remedy="Remove audit.config from the folder LoadGen ran in, and run the test again.",
        path=detail.path,
    )


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
    _answers,
)
