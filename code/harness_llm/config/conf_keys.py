"""Every key that LoadGen reads from a conf file, and what LoadGen does with it.

From `TestSettings::FromConfig`, mlcommons/inference @b66003e1 loadgen/test_settings_internal.cc lines
687-811: a key that is not looked up there is silently ignored, an integer key given as `1e6` becomes 1,
and `0100` is octal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SCENARIOS = ("Offline", "Server", "SingleStream", "MultiStream")
_LARGEST = 2**63 - 1
_LARGEST_MS = _LARGEST // 10**6


@dataclass(frozen=True, slots=True)
class ConfKey:
    """How LoadGen reads one key.

    Attributes:
        kind: `integer`, `number` (a double) or `flag` (0 or 1; LoadGen takes any other value for off or on,
            depending on the key).
        scenarios: Scenarios under which LoadGen looks the key up; empty means the scenario of the run.
        largest: Largest value that LoadGen keeps without overflow.
        not_here: Why the key does nothing, or does harm, in user.conf; empty where it may stand there.
        does_harm: Whether such a key has an effect on the run in user.conf.
        is_open_only: Whether setting it for an official model confines the result to the open division.
        unit: Unit of the value, empty where it has none.
        needs: A flag without which LoadGen does not look at the key; empty where it needs none.
    """

    kind: Literal["integer", "number", "flag"]
    scenarios: tuple[str, ...] = ()
    largest: int = _LARGEST
    not_here: str = ""
    does_harm: bool = False
    is_open_only: bool = False
    unit: str = ""
    needs: str = ""


_FROM_MLPERF_CONF = "LoadGen ignores it in user.conf: it comes from LoadGen's embedded mlperf.conf"
_FROM_AUDIT = "it belongs in the audit.config of a compliance run"
_NEVER_READ = "LoadGen never reads it"

KEYS: dict[str, ConfKey] = {
    "target_qps": ConfKey("number", ("Server", "Offline"), unit="samples/s"),
    "target_latency": ConfKey(
        "integer", ("Server", "SingleStream", "MultiStream"), _LARGEST_MS, is_open_only=True, unit="ms"
    ),
    "target_latency_percentile": ConfKey(
        "number", ("Server", "SingleStream", "MultiStream"), 100, is_open_only=True, unit="percent"
    ),
    "use_token_latencies": ConfKey("flag", is_open_only=True),
    "ttft_latency": ConfKey(
        "integer", ("Server",), _LARGEST_MS, is_open_only=True, unit="ms", needs="use_token_latencies"
    ),
    "tpot_latency": ConfKey(
        "integer", ("Server",), _LARGEST_MS, is_open_only=True, unit="ms", needs="use_token_latencies"
    ),
    "infer_token_latencies": ConfKey("flag", is_open_only=True),
    "token_latency_scaling_factor": ConfKey("integer", is_open_only=True, needs="infer_token_latencies"),
    "samples_per_query": ConfKey("integer", ("MultiStream",), is_open_only=True),
    "performance_issue_unique": ConfKey("flag"),
    "performance_issue_same": ConfKey("flag"),
    "performance_issue_same_index": ConfKey("integer", needs="performance_issue_same"),
    "sample_concatenate_permutation": ConfKey("flag"),
    "coalesce_queries": ConfKey("flag", ("Server",)),
    "max_async_queries": ConfKey("integer", ("Server",), 2**31 - 1),
    "min_duration": ConfKey("integer", largest=_LARGEST_MS, unit="ms"),
    "max_duration": ConfKey("integer", largest=_LARGEST_MS, unit="ms"),
    "min_query_count": ConfKey("integer"),
    "max_query_count": ConfKey("integer"),
    "performance_sample_count_override": ConfKey("integer"),
    "accuracy_sample_count_override": ConfKey("integer"),
    "print_timestamps": ConfKey("flag"),
    "mode": ConfKey("integer", largest=3, not_here="the harness sets the mode of each test", does_harm=True),
    "accuracy_log_rng_seed": ConfKey("integer", not_here=_FROM_AUDIT, does_harm=True),
    "accuracy_log_sampling_target": ConfKey("integer", not_here=_FROM_AUDIT, does_harm=True),
    "accuracy_log_probability": ConfKey("number", not_here=_FROM_MLPERF_CONF),
    "qsl_rng_seed": ConfKey("integer", not_here=_FROM_MLPERF_CONF),
    "sample_index_rng_seed": ConfKey("integer", not_here=_FROM_MLPERF_CONF),
    "schedule_rng_seed": ConfKey("integer", not_here=_FROM_MLPERF_CONF),
    "test05": ConfKey("flag", not_here=_FROM_MLPERF_CONF),
    "test05_qsl_rng_seed": ConfKey("integer", not_here=_FROM_MLPERF_CONF),
    "test05_sample_index_rng_seed": ConfKey("integer", not_here=_FROM_MLPERF_CONF),
    "test05_schedule_rng_seed": ConfKey("integer", not_here=_FROM_MLPERF_CONF),
    "target_duration": ConfKey("integer", not_here=_NEVER_READ),
}
