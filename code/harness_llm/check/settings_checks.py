"""Checks of user.conf: is it sound, and is it the one that the logged run used."""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness_llm import rules
from harness_llm.check.case import Case
from harness_llm.check.judgement import INFERENCE, Check
from harness_llm.config.user_conf import is_ignored_line
from harness_llm.core import Mode, Scenario
from harness_llm.logs.detail import SIX_DIGITS, DetailLog

_READER = f"{INFERENCE} loadgen/test_settings_internal.cc"
# What user.conf can change in accuracy mode: every sample is asked once, whatever the durations and counts.
_IN_ACCURACY = frozenset({"accuracy_sample_count_override", "ttft_latency", "tpot_latency"})
# user.conf key -> key in the detail log, and what one unit of user.conf is there.
_LOGGED: dict[str, tuple[str, float]] = {
    "min_duration": ("requested_min_duration_ms", 1),
    "max_duration": ("requested_max_duration_ms", 1),
    "min_query_count": ("requested_min_query_count", 1),
    "max_query_count": ("requested_max_query_count", 1),
    "performance_sample_count_override": ("requested_performance_sample_count_override", 1),
    "accuracy_sample_count_override": ("requested_accuracy_sample_count_override", 1),
    "sample_concatenate_permutation": ("requested_sample_concatenate_permutation", 1),
    "performance_issue_unique": ("requested_performance_issue_unique", 1),
    "performance_issue_same": ("requested_performance_issue_same", 1),
    "print_timestamps": ("requested_print_timestamps", 1),
}
_LOGGED_SERVER: dict[str, tuple[str, float]] = {
    "target_qps": ("requested_server_target_qps", 1),
    "target_latency": ("requested_server_target_latency_ns", 10**6),
    "target_latency_percentile": ("requested_server_target_latency_percentile", 0.01),
    "ttft_latency": ("requested_server_ttft_latency", 10**6),
    "tpot_latency": ("requested_server_tpot_latency", 10**6),
    "coalesce_queries": ("requested_server_coalesce_queries", 1),
    "max_async_queries": ("requested_server_max_async_queries", 1),
}
_LOADGEN_MIN_QUERIES = 100  # TestSettings' default, loadgen/test_settings.h


def _file(case: Case) -> Iterator[Check]:
    conf = case.conf
    yield case.check(
        "conf.file",
        conf.missing is None,
        str(conf.missing or f"{len(conf.conf.entries)} settings"),
        "the user.conf of the run",
        source=f"{INFERENCE} tools/submission/submission_checker/constants.py line 1486",
        remedy="Put the user.conf here that LoadGen read.",
        path=case.user_conf,
    )
    if conf.missing:
        return
    for name, problems, passed in (
        ("conf.lines", [text for text in conf.problems if not is_ignored_line(text)], _of_other_run(case)),
        ("conf.ignored-lines", [text for text in conf.problems if is_ignored_line(text)], None),
    ):
        yield case.check(
            name,
            passed if problems else True,
            "; ".join(f"line {problem}" for problem in problems) or "none",
            "no line that LoadGen changes in silence" if name == "conf.lines" else "LoadGen reads every line",
            source=f"{_READER} lines 606-811",
            remedy="If the run was meant to have these settings, correct the lines and run the test again; "
            "if not, remove them.",
            path=case.user_conf,
        )
    known = rules.conf_names() | {
        case.loadgen_model,
        rules.loadgen_model(case.benchmark, Scenario.INTERACTIVE),
    }
    known |= {rules.loadgen_model(case.benchmark, Scenario.SERVER), "*"}
    strange = sorted({entry.model for entry in conf.conf.entries} - known)
    yield case.check(
        "conf.models",
        not strange,
        ", ".join(strange) or "known names",
        f"model names that LoadGen is asked for, such as {case.loadgen_model}",
        source=f"{_READER} lines 568-604",
        remedy=f"Did you mean {rules.nearest(strange[0], known - {'*'}) if strange else ''}?",
        path=case.user_conf,
    )


def _rate(case: Case) -> Iterator[Check]:
    if case.conf.missing:
        return
    found = case.settings.get("target_qps")
    # The length of an Offline run may follow from its count; prepare lets it run, too.
    is_counted = case.scenario is Scenario.OFFLINE and (case.rules or "min_query_count" in case.settings)
    is_note = found is None and bool(is_counted)
    yield case.check(
        "conf.target-qps",
        (found is not None and found > 0) or (None if is_note else _of_other_run(case)),
        found,
        f"{case.loadgen_model}.{case.scenario.loadgen_name}.target_qps above 0",
        source="conf:195-199",
        remedy="Set it; LoadGen's own default of 1 is never meant for a run.",
        path=case.user_conf,
    )


def _of_other_run(case: Case) -> bool | None:
    """What a user.conf that does not fit the log is.

    A fault in a run folder, whose files were written by one run; a note in a tree, where the log has the
    settings that count and no rule asks for the performance run's own file.
    """
    return None if case.layout == "tree" else False


def _open_only(case: Case) -> Iterator[Check]:
    if not case.is_strict or case.conf.missing:
        return
    found = [
        f"{entry.name} (line {entry.line})"
        for entry in case.conf.conf.open_only(case.loadgen_model)
        if entry.scenario in (case.scenario.loadgen_name, "*")
    ]
    yield case.check(
        "conf.closed",
        not found,
        ", ".join(found) or "none",
        "no setting that confines the result to open",
        source=f"{_READER} lines 735-771",
        remedy="Remove the lines; mlperf.conf inside LoadGen has the limits.",
        path=case.user_conf,
    )


def _used(case: Case) -> Iterator[Check]:
    if case.conf.missing:
        return
    logs: list[tuple[str, DetailLog]] = []
    if Mode.PERFORMANCE in case.modes:
        logs.append(("performance", case.detail))
    if Mode.ACCURACY in case.modes:
        logs.append(("accuracy", case.accuracy_detail))
    for area, detail in logs:
        if not detail.values:
            continue
        differences = list(_differences(case, detail, area))
        yield case.check(
            f"{area}.user-conf",
            not differences or _of_other_run(case),
            "; ".join(differences) or "as user.conf has it",
            "the settings of this user.conf",
            source=f"{_READER} lines 735-811",
            remedy="Put the user.conf here that this run used, or run the test again with this one.",
            path=detail.path,
        )


def _differences(case: Case, detail: DetailLog, area: str) -> Iterator[str]:
    server = case.scenario.is_timed_per_token
    logged = _LOGGED | (_LOGGED_SERVER if server else {"target_qps": ("requested_offline_expected_qps", 1)})
    wanted = {"min_duration": 600000.0, "min_query_count": float(_LOADGEN_MIN_QUERIES)}
    if case.rules and not server:
        del wanted["min_query_count"]
        if case.rules.samples.offline_queries is not None:
            wanted["min_query_count"] = float(case.rules.samples.offline_queries)
    wanted |= {key: float(value) for key, value in case.settings.items()}
    for key, value in wanted.items():
        if key not in logged or (area == "accuracy" and key not in _IN_ACCURACY):
            continue
        name, unit = logged[key]
        found = detail.value(name)
        if not isinstance(found, int | float) or not math.isclose(found, value * unit, rel_tol=SIX_DIGITS):
            origin = "user.conf" if key in case.settings else "LoadGen's default"
            yield f"{name} {found} against {value * unit:g} ({origin})"


SETTINGS_CHECKS = (_file, _rate, _open_only, _used)
