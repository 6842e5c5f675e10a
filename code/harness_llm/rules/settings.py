"""Rules of what LoadGen is told: the same functions judge a plan and the log of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from harness_llm.core import NANOSECONDS_PER_MS, Scenario
from harness_llm.rules import access as rules
from harness_llm.rules.by_round import BenchmarkRules
from harness_llm.rules.finding import Finding

NOT_OF_PERFORMANCE = (
    "performance_issue_unique",
    "performance_issue_same",
    "accuracy_log_sampling_target",
    "accuracy_log_rng_seed",
    "accuracy_log_probability",
    "max_duration",
    "max_query_count",
)
"""Settings of a compliance or trial run, and upper bounds, as user.conf names them."""

SLACK = 1.1
"""kSlack: Offline asks for a tenth more than rate and duration need.

Source: loadgen/test_settings_internal.cc line 151, @b66003e1.
"""
_CHECKER = "mlcommons/inference @b66003e1 tools/submission/submission_checker/checks/performance_check.py"


@dataclass(frozen=True)
class Settings:
    """The settings of a performance run that a rule looks at; None for one that the log lacks.

    Attributes:
        min_duration_ms: LoadGen's shortest run, ms.
        loaded_samples: LoadGen's performance sample count.
        samples_per_query: Samples of the Offline query before LoadGen fills the last copy of the data set.
        equal_issue: sample_concatenate_permutation.
        token_latencies: use_token_latencies.
        percentile: Share of the queries that must be within the limits.
        ttft_ns: Limit of TTFT.
        tpot_ns: Limit of TPOT.
        left_over: Of `NOT_OF_PERFORMANCE`, what is set, and to what.
    """

    min_duration_ms: int | None
    loaded_samples: int | None
    samples_per_query: int | None
    equal_issue: bool | None
    token_latencies: bool | None
    percentile: float | None
    ttft_ns: int | None
    tpot_ns: int | None
    left_over: Mapping[str, object] = field(default_factory=dict)


def planned_settings(known: BenchmarkRules, scenario: Scenario, given: Mapping[str, int | float]) -> Settings:
    """What LoadGen will make of a user.conf.

    Args:
        known: The rules of the benchmark; what user.conf does not set is as mlperf.conf has it.
        scenario: The scenario.
        given: What user.conf sets for model and scenario, in the units of the file.
    """
    limits = known.latency.get(scenario)
    ttft, tpot = (limits.ttft_ms, limits.tpot_ms) if limits else (None, None)
    duration = int(given.get("min_duration", known.min_duration_ms))
    least = given.get("min_query_count", known.samples.offline_queries or 0)
    percent = given.get("target_latency_percentile")
    return Settings(
        min_duration_ms=duration,
        loaded_samples=int(given.get("performance_sample_count_override") or known.samples.performance),
        samples_per_query=max(int(least), int(SLACK * (duration / 1000) * given.get("target_qps", 1.0))),
        equal_issue=bool(given.get("sample_concatenate_permutation", 1)),
        token_latencies=bool(given.get("use_token_latencies", 1)),
        percentile=rules.table().run.latency_percentile.value if percent is None else percent / 100,
        ttft_ns=_ns(given.get("ttft_latency", ttft)),
        tpot_ns=_ns(given.get("tpot_latency", tpot)),
        left_over={key: given[key] for key in NOT_OF_PERFORMANCE if given.get(key)},
    )


def _ns(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else int(milliseconds) * NANOSECONDS_PER_MS


def settings_findings(known: BenchmarkRules, scenario: Scenario, settings: Settings) -> Iterator[Finding]:
    """Every rule of settings that a performance run of an official benchmark must keep."""
    yield min_duration(known.min_duration_ms, settings, rules.table().run.min_duration_ms.source)
    yield sample_count(known, settings)
    if scenario is Scenario.OFFLINE:
        yield samples_per_query(known, scenario, settings)
    yield equal_issue(known, settings)
    yield token_latencies(known.conf_source, known.loadgen_model(scenario), settings)
    yield left_overs(settings)
    if scenario.is_timed_per_token and scenario in known.latency:
        limits = known.latency[scenario]
        model = known.loadgen_model(scenario)
        yield latency_limits((limits.ttft_ns, limits.tpot_ns), limits.source, scenario, model, settings)
        yield latency_percentile(settings)


def min_duration(wanted_ms: int, settings: Settings, source: str) -> Finding:
    """LoadGen's own duration setting is at least the rules'."""
    found = settings.min_duration_ms
    return Finding(
        "performance.min-duration",
        found is not None and found >= wanted_ms,
        f"{found} ms",
        f"at least {wanted_ms} ms",
        source,
        "Remove min_duration from user.conf, or raise it, and run the test again.",
    )


def sample_count(known: BenchmarkRules, settings: Settings) -> Finding:
    """LoadGen loads the whole data set."""
    found, wanted = settings.loaded_samples, known.samples.performance
    return Finding(
        "performance.sample-count",
        found is not None and found >= wanted,
        str(found),
        f"at least {wanted}",
        known.samples.source,
        "Load the whole data set: remove performance_sample_count_override.",
    )


def samples_per_query(known: BenchmarkRules, scenario: Scenario, settings: Settings) -> Finding:
    """The Offline query asks for the whole data set before LoadGen pads it."""
    found, least = settings.samples_per_query, known.samples.offline_minimum
    return Finding(
        "performance.samples-per-query",
        found is not None and found >= least,
        str(found),
        f"at least {least}: what target_qps, min_duration and min_query_count ask for, before LoadGen fills "
        "the last copy of the data set",
        f"{_CHECKER} lines 350-360",
        f"Set {known.loadgen_model(scenario)}.Offline.min_query_count = {least} in user.conf and "
        "run the test again.",
    )


def equal_issue(known: BenchmarkRules, settings: Settings) -> Finding:
    """Every sample is issued equally often."""
    return Finding(
        "performance.equal-issue",
        settings.equal_issue is True,
        f"sample_concatenate_permutation {settings.equal_issue}",
        "sample_concatenate_permutation True",
        known.conf_source,
        "Run under the official model name, and keep the key out of user.conf.",
    )


def token_latencies(source: str, model: str, settings: Settings) -> Finding:
    """LoadGen counts tokens."""
    return Finding(
        "performance.token-latencies",
        settings.token_latencies is True,
        f"use_token_latencies {settings.token_latencies}",
        "use_token_latencies True",
        source,
        f"Give LoadGen the model name {model}, or set the key in user.conf.",
    )


def left_overs(settings: Settings) -> Finding:
    """Nothing of a compliance or trial run, and no upper bound."""
    return Finding(
        "performance.no-audit",
        not settings.left_over,
        ", ".join(f"{key} {value}" for key, value in settings.left_over.items()) or "none",
        "no setting of a compliance run, no upper bound",
        "policy; test06",
        "Remove audit.config from the folder LoadGen ran in and these keys from user.conf, and run the test "
        "again.",
    )


def latency_limits(
    wanted: tuple[int, int] | None, source: str, scenario: Scenario, model: str, settings: Settings
) -> Finding:
    """The limits by which LoadGen judges are the scenario's own.

    Args:
        wanted: TTFT and TPOT, ns; None where nobody says.
        source: Where they come from.
        scenario: The scenario.
        model: LoadGen's name of the model.
        settings: What LoadGen was told.
    """
    found = settings.ttft_ns, settings.tpot_ns
    return Finding(
        "latency.limits",
        wanted is not None and found == wanted,
        _in_ms(found),
        f"{'limits of TTFT and TPOT' if wanted is None else _in_ms(wanted)} for {scenario}",
        source,
        f"Run {scenario} under the model name {model}, and keep the limits out of user.conf.",
    )


def latency_percentile(settings: Settings) -> Finding:
    """LoadGen judges by the rules' percentile."""
    found, wanted = settings.percentile, rules.table().run.latency_percentile
    return Finding(
        "latency.percentile",
        found is not None and math.isclose(found, wanted.value),
        str(found),
        str(wanted.value),
        wanted.source,
        "Remove target_latency_percentile from user.conf.",
    )


def _in_ms(pair: tuple[int | None, int | None]) -> str:
    ttft, tpot = ("none" if value is None else f"{value / NANOSECONDS_PER_MS:g} ms" for value in pair)
    return f"TTFT {ttft}, TPOT {tpot}"
