"""Checks of LoadGen's summary against its detail log: every line of it is a figure of the log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from harness_llm.check.case import Case
from harness_llm.check.judgement import INFERENCE, Check, check_name
from harness_llm.logs.detail import SIX_DIGITS, DetailLog
from harness_llm.logs.effective import RUN_SETTINGS
from harness_llm.logs.summary import SummaryLog

_PERCENTILES = ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")
_PARAMETERS = (
    "samples_per_query",
    "target_qps",
    "max_async_queries",
    "min_query_count",
    *RUN_SETTINGS,
    "performance_sample_count",
    "accuracy_sample_count",
)
# What loadgen/results.cc (LogSummary) and loadgen/test_settings_internal.cc (LogSummary) print -> detail key.
_LABELS = {
    "SUT name": "sut_name",
    "Scenario": "effective_scenario",
    "Mode": "effective_test_mode",
    "Result is": "result_validity",
    "Performance constraints satisfied": "result_perf_constraints_met",
    "Min duration satisfied": "result_min_duration_met",
    "Min queries satisfied": "result_min_queries_met",
    "Early stopping satisfied": "early_stopping_met",
    "Samples per second": "result_samples_per_second",
    "Tokens per second": "result_tokens_per_second",
    "Completed samples per second": "result_completed_samples_per_sec",
    "Completed tokens per second": "result_completed_tokens_per_second",
    "Scheduled samples per second": "result_scheduled_samples_per_sec",
    "ttft_latency (ns)": "requested_server_ttft_latency",
    "tpot_latency (ns)": "requested_server_tpot_latency",
    "target_latency (ns)": "effective_target_latency_ns",
    "min_duration (ms)": "effective_min_duration_ms",
    "max_duration (ms)": "effective_max_duration_ms",
    **{f"{end.title()} latency (ns)": f"result_{end}_latency_ns" for end in ("min", "max", "mean")},
    **{
        f"{end.title()} First Token latency (ns)": f"result_first_token_{end}_latency_ns"
        for end in ("min", "max", "mean")
    },
    **{
        f"{end.title()} Time per Output Token (ns)": f"result_time_to_output_token_{end}"
        for end in ("min", "max", "mean")
    },
    **{f"{name} percentile latency (ns)": f"result_{name}_percentile_latency_ns" for name in _PERCENTILES},
    **{
        f"{name} percentile first token latency (ns)": f"result_first_token_{name}_percentile_latency_ns"
        for name in _PERCENTILES
    },
    **{
        f"{name} percentile time to output token (ns)": f"result_time_per_output_token_{name}_percentile_ns"
        for name in _PERCENTILES
    },
    **{name: f"effective_{name}" for name in _PARAMETERS},
}
_TWO_DECIMALS = frozenset(
    {"Completed samples per second", "Completed tokens per second", "Scheduled samples per second"}
)
_OLDER = re.compile("Time to Output")  # as LoadGen before v6.0 prints it
# One of the two without the other is no contradiction: Offline's detail log has no token limits, a summary
# with token latencies no target latency.
_IN_ONE_ONLY = frozenset({"ttft_latency (ns)", "tpot_latency (ns)", "target_latency (ns)"})


def summary_checks(
    case: Case, area: str = "performance", summary: SummaryLog | None = None, detail: DetailLog | None = None
) -> Iterator[Check]:
    """Whether LoadGen's summary is whole and says what its detail log says.

    Args:
        case: The result.
        area: Beginning of the checks' names.
        summary: The summary; None for the performance run's.
        detail: The detail log of the same test; None for the performance run's.
    """
    summary, detail = summary or case.summary, detail or case.detail
    yield case.check(
        check_name(area, "summary"),
        not summary.problems,
        "; ".join(map(str, summary.problems)) or "whole",
        "a whole LoadGen summary",
        source=f"{INFERENCE} tools/submission/submission_checker/constants.py line 1394",
        remedy="Copy the summary as LoadGen wrote it, or run the test again.",
        path=summary.path,
    )
    if summary.problems or not detail.values:
        return
    differences = list(summary_differences(summary, detail))
    yield case.check(
        check_name(area, "summary-agrees"),
        not differences,
        "; ".join(differences) or "equal",
        "the summary says what the detail log says",
        source=f"{INFERENCE} loadgen/results.cc, LogSummary; loadgen/test_settings_internal.cc lines 506-541",
        remedy="Put summary and detail log of the same run here.",
        path=summary.path,
    )


def summary_differences(summary: SummaryLog, detail: DetailLog) -> Iterator[str]:
    """What a summary and the detail log of the same test say differently, a sentence each."""
    for errors in (detail.value("num_errors"), detail.error_lines):
        if summary.errors != errors and None not in (summary.errors, errors):
            yield f"errors: {summary.errors} against {errors}"
    if summary.warnings is None:
        yield "the count of warnings is missing"
    elif summary.warnings < detail.warning_lines:  # some are not in the detail log
        yield f"warnings: {summary.warnings} against {detail.warning_lines}"
    is_accuracy = detail.value("effective_test_mode") == "AccuracyOnly"
    pairs = [(_OLDER.sub("Time per Output", label), text) for label, text in summary.pairs]
    for label, text in pairs:
        key = _LABELS.get(label)
        if key is None or is_accuracy:
            if _number(text) is not None:
                yield f"{label}: {text}, which LoadGen does not print"
        elif key not in detail.values:
            if label not in _IN_ONE_ONLY:
                yield f"{label}: {text}, which the detail log lacks"
        elif not _says(text, detail.values[key], has_two_decimals=label in _TWO_DECIMALS):
            yield f"{label}: {text} against {detail.values[key]}"
    printed = {label for label, _ in pairs}
    if not is_accuracy:
        for label, key in _LABELS.items():
            if key in detail.values and label not in printed and label not in _IN_ONE_ONLY:
                yield f"{label} is missing, {detail.values[key]} in the detail log"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _says(text: str, value: Any, *, has_two_decimals: bool) -> bool:
    """Whether a printed value is that of the detail log, which has six digits of a rate; others are whole."""
    if isinstance(value, bool):
        return text == ("Yes" if value else "NO") or text == str(int(value))
    if isinstance(value, str):
        return text == value.strip()
    if not isinstance(value, int | float):
        return False
    if text == str(value):
        return True
    found = _number(text)
    is_rate = isinstance(value, float) or "." in text or "e" in text
    if found is None or not is_rate:
        return False
    if has_two_decimals:
        return abs(found - value) <= SIX_DIGITS * abs(value) / 2 + 0.0051
    return f"{found:.6g}" == f"{value:.6g}"
