"""The lines that LoadGen always writes into a detail log, so that a line that was taken out is missed.

Which they are follows from mode, scenario and whether token latencies are on (mlcommons/inference @b66003e1
loadgen/version.cc, loadgen.cc, test_settings_internal.cc, results.cc). All of them stand in each of 1,742
published logs of LLMs of rounds v5.1 and v6.0, which LoadGen 5.0 to 6.0 wrote.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness_llm.logs.detail import DetailLog
from harness_llm.logs.effective import COPIED_SETTINGS

_BUILD = ("version", "build_date_local", "build_date_utc", "git_commit_date", "git_log_message")
_OF_BUILD = (*_BUILD, "git_status_message", "file_sha1")
_SETTINGS = (*COPIED_SETTINGS, "min_query_count")
_EFFECTIVE = (
    "samples_per_query",
    "target_qps",
    "target_latency_ns",
    "target_latency_percentile",
    "max_async_queries",
    "target_duration_ms",
    "min_sample_count",
    "performance_sample_count",
)
_SERVER = (
    "coalesce_queries",
    "find_peak_qps_boundary_step_size",
    "find_peak_qps_decimals_of_precision",
    "max_async_queries",
    "num_issue_query_threads",
    "target_latency_ns",
    "target_latency_percentile",
    "target_qps",
    "tpot_latency",
    "ttft_latency",
)
_COUNTERS = (
    "swap_request_slots_retry_count",
    "swap_request_slots_retry_retry_count",
    "swap_request_slots_retry_reencounter_count",
    "start_reading_entries_retry_count",
    "tls_total_log_cas_fail_count",
    "tls_total_swap_buffers_slot_retry_count",
)
_ALWAYS = (
    *(f"loadgen_{name}" for name in _OF_BUILD),
    *("test_datetime", "sut_name", "get_sut_name_duration_ns", "qsl_name"),
    *("qsl_reported_total_count", "qsl_reported_performance_count"),
    *(f"{kind}_{name}" for kind in ("requested", "effective") for name in _SETTINGS),
    *("requested_performance_sample_count_override", "requested_use_token_latencies"),
    *(f"effective_{name}" for name in _EFFECTIVE),
    *("loaded_qsl_set", "generated_query_count", "generated_samples_per_query", "generated_query_duration"),
    *(f"logger_{name}" for name in _COUNTERS),
    *("generic_message", "power_begin", "power_end"),
)
_PERCENTILES = ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")
_RESULTS = (
    *("validity", "query_count", "min_duration_met", "min_queries_met"),
    *(f"{end}_latency_ns" for end in ("min", "max", "mean")),
    *(f"{name}_percentile_latency_ns" for name in _PERCENTILES),
)
_OF_SERVER = (
    *("perf_constraints_met", "overlatency_query_count"),
    *("scheduled_samples_per_sec", "completed_samples_per_sec"),
    *("completed_tokens_per_second", "token_throughput", "token_throughput_with_loadgen_overhead"),
    *(f"first_token_{end}_latency_ns" for end in ("min", "max", "mean")),
    *(f"first_token_{name}_percentile_latency_ns" for name in _PERCENTILES),
    *(f"time_to_output_token_{end}" for end in ("min", "max", "mean")),
    *(f"time_per_output_token_{name}_percentile_ns" for name in _PERCENTILES),
)
_OF_OFFLINE = ("samples_per_second", "tokens_per_second")


def missing_lines(detail: DetailLog) -> list[str]:
    """Keys that LoadGen writes into every log of this kind, and this one lacks.

    What only token latencies bring is asked of a log that has them on.
    """
    return [key for key in _written(detail) if key not in detail.values]


def _written(detail: DetailLog) -> Iterator[str]:
    yield from _ALWAYS
    offline = detail.value("effective_scenario") == "Offline"
    if offline:
        yield "requested_offline_expected_qps"
    else:
        yield from (f"requested_server_{name}" for name in _SERVER)
    if detail.value("effective_test_mode") == "AccuracyOnly":
        return
    if detail.value("requested_use_token_latencies") is not True:
        return
    yield from ("early_stopping_met", "early_stopping_ttft_result", "early_stopping_tpot_result")
    if detail.value("result_validity") == "INVALID":
        yield "result_invalid_reason"
    yield from (f"result_{name}" for name in (*_RESULTS, *(_OF_OFFLINE if offline else _OF_SERVER)))
