"""LoadGen's effective settings and generated queries, made again from the requested settings.

As in TestSettingsInternal (mlcommons/inference @b66003e1 loadgen/test_settings_internal.cc lines 27-165)
and GenerateQueries (loadgen/loadgen.cc lines 262-432), as far as Server and Offline go.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import Any

from harness_llm.core import NANOSECONDS_PER_SECOND
from harness_llm.logs.detail import SIX_DIGITS, DetailLog
from harness_llm.logs.schedule import MOST_QUERIES, is_real_rate, logged_ends_ns, server_query_count
from harness_llm.rules.settings import SLACK

RUN_SETTINGS = (
    "max_query_count",
    "qsl_rng_seed",
    "sample_index_rng_seed",
    "schedule_rng_seed",
    "accuracy_log_rng_seed",
    "accuracy_log_probability",
    "accuracy_log_sampling_target",
    "print_timestamps",
    "performance_issue_unique",
    "performance_issue_same",
    "performance_issue_same_index",
)
"""Settings that LoadGen takes over as they were requested, and prints in its summary under the same names."""
COPIED_SETTINGS = (
    *RUN_SETTINGS,
    "scenario",
    "test_mode",
    "min_duration_ms",
    "max_duration_ms",
    "sample_concatenate_permutation",
)
"""Settings that are in effect as they were requested."""
_MS = 1_000_000


def setting_faults(detail: DetailLog) -> Iterator[str]:
    """A sentence for each effective setting that does not follow from what was requested."""
    for key, wanted in _wanted(detail).items():
        found = detail.value(f"effective_{key}")
        if not _is_same(found, wanted):
            yield f"effective_{key} {found} instead of {wanted}"


def _is_same(found: Any, wanted: Any) -> bool:
    if isinstance(found, float) or isinstance(wanted, float):
        numbers = isinstance(found, int | float) and isinstance(wanted, int | float)
        return numbers and math.isclose(found, wanted, rel_tol=SIX_DIGITS)
    return type(found) is type(wanted) and bool(found == wanted)


def _wanted(detail: DetailLog) -> dict[str, Any]:
    requested = {key: detail.value(f"requested_{key}") for key in COPIED_SETTINGS}
    for count, override, reported in (
        ("performance_sample_count", "performance_sample_count_override", "qsl_reported_performance_count"),
        ("accuracy_sample_count", "accuracy_sample_count_override", "qsl_reported_total_count"),
    ):
        requested[count] = detail.value(f"requested_{override}") or detail.value(reported)
    if "effective_accuracy_sample_count" not in detail.values:  # LoadGen before v6.0
        del requested["accuracy_sample_count"]
    if detail.value("requested_scenario") == "Offline":
        return requested | _offline(detail, requested["performance_sample_count"])
    least = detail.value("requested_min_query_count")
    return requested | {
        "samples_per_query": 1,
        "target_qps": detail.value("requested_server_target_qps"),
        "target_latency_ns": detail.value("requested_server_target_latency_ns"),
        "target_latency_percentile": detail.value("requested_server_target_latency_percentile"),
        "max_async_queries": detail.value("requested_server_max_async_queries"),
        "target_duration_ms": detail.value("requested_min_duration_ms"),
        "min_query_count": least,
        "min_sample_count": least,
    }


def _offline(detail: DetailLog, loaded: Any) -> dict[str, Any]:
    rate, least = detail.number("requested_offline_expected_qps"), detail.integer("requested_min_query_count")
    lasts = detail.integer("requested_min_duration_ms")
    samples: Any = None
    if detail.value("requested_performance_issue_unique") is True:
        samples = loaded
    elif rate is not None and least is not None and lasts is not None and math.isfinite(rate):
        samples = max(least, int(SLACK * lasts / 1000 * rate))
        found = detail.integer("effective_samples_per_query")
        # The rate in the log has six digits, LoadGen's own has all.
        if found is not None and abs(found - samples) <= 1 + SIX_DIGITS * samples and found >= least:
            samples = found
    return {
        "samples_per_query": samples,
        "target_qps": detail.value("requested_offline_expected_qps"),
        "target_latency_ns": 0,
        "target_latency_percentile": 0.99,
        "max_async_queries": 1,
        "target_duration_ms": 0,
        "min_query_count": 1,
        "min_sample_count": detail.value("effective_samples_per_query"),
    }


def schedule_end_ns(detail: DetailLog) -> int | None:
    """When the query after the last would be due, ns; None without seed, count and rate of a real run."""
    rate, count = detail.number("effective_target_qps"), detail.integer("generated_query_count")
    if rate is None or count is None or not is_real_rate(rate) or not 0 < count <= MOST_QUERIES:
        return None
    if detail.value("effective_scenario") == "Offline":
        return int(NANOSECONDS_PER_SECOND / rate) * count
    seed = detail.integer("effective_schedule_rng_seed")
    return None if seed is None else logged_ends_ns(seed, rate, count)[1]


def query_faults(detail: DetailLog) -> Iterator[str]:
    """A sentence for each count or time of the generated queries that does not follow from the settings."""
    count, each = detail.integer("generated_query_count"), detail.integer("generated_samples_per_query")
    accuracy = detail.value("effective_test_mode") == "AccuracyOnly"
    loaded = detail.value("loaded_qsl_set")
    size = len(loaded) if isinstance(loaded, array) else 0
    if not size or count is None or each is None:
        yield "counts of queries or samples missing"
        return
    equal = not accuracy and detail.value("effective_sample_concatenate_permutation") is True
    if detail.value("effective_scenario") == "Offline":
        asked = size if accuracy else detail.integer("effective_samples_per_query") or 0
        wanted = -(-asked // size) * size if equal else asked
        if (count, each) != (1, wanted):
            yield f"{count} queries of {each} samples instead of 1 of {wanted}"
    elif each != 1:
        yield f"{each} samples in a query of Server"
    else:
        yield from _server_count_faults(detail, count, size, equal=equal, accuracy=accuracy)
    found, due = detail.number("generated_query_duration"), schedule_end_ns(detail)
    if due is None or found is None or not math.isclose(found, due, rel_tol=SIX_DIGITS):
        yield f"generated_query_duration {found} instead of {due}"


def _server_count_faults(
    detail: DetailLog, count: int, size: int, *, equal: bool, accuracy: bool
) -> Iterator[str]:
    """Server makes queries until one is due after the minimum duration, in whole data sets of equal issue."""
    if accuracy or detail.value("effective_performance_issue_unique") is True:
        if count != size:
            yield f"{count} queries instead of {size}"
        return
    rate, seed = detail.number("effective_target_qps"), detail.integer("effective_schedule_rng_seed")
    least = detail.integer("effective_min_query_count") or 0
    lasts = (detail.integer("effective_target_duration_ms") or 0) * _MS
    if (
        rate is None
        or seed is None
        or not is_real_rate(rate)
        or max(least, lasts / 1e9 * rate) > MOST_QUERIES
    ):
        yield "rate, seed or count of no real run"
        return
    # The rate in the log has six digits: near the end of the duration, either count may be right.
    wanted = {
        server_query_count(
            seed & (2**64 - 1),
            rate * off,
            min_queries=least,
            min_duration_ns=lasts,
            whole_sets_of=size if equal else None,
        )
        for off in (1 - SIX_DIGITS, 1, 1 + SIX_DIGITS)
    }
    if not min(wanted) <= count <= max(wanted):
        yield f"{count} queries instead of {min(wanted)}"
