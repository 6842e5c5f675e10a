"""Whether the mlperf.conf inside LoadGen says what the table says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness_llm.core import Scenario
from harness_llm.rules import access as rules
from harness_llm.rules.by_round import BenchmarkRules
from harness_llm.rules.schema import Seeds

_SEED_KEYS = ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed")


def compare_with_loadgen(
    settings: Mapping[str, Any],
    known: BenchmarkRules | None = None,
    scenario: Scenario | None = None,
    round_name: str = rules.LATEST_ROUND,
) -> list[str]:
    """Differences between LoadGen's configuration and the table, each a sentence that says which is older.

    Args:
        settings: Fields of `TestSettings` after `FromConfig`, under their Python names; a field that is
            absent is not compared. user.conf may lengthen a run: durations and counts may exceed the table's.
        known: The rules of the benchmark; None compares the seeds only. Those of a benchmark that has left
            MLPerf are of the last round that had it.
        scenario: The scenario that `FromConfig` was asked for.
        round_name: The round whose seeds LoadGen must have.

    Returns:
        One sentence a difference; empty where both agree.
    """
    found = _compare_seeds(settings, rules.round_seeds(round_name), round_name)
    if known is None or scenario is None:
        return found
    return found + _compare_values(settings, known, scenario)


def _compare_seeds(settings: Mapping[str, Any], seeds: Seeds, wanted: str) -> list[str]:
    given = {key: int(settings[key]) for key in _SEED_KEYS if key in settings}
    if all(value == seeds.as_settings()[key] for key, value in given.items()):
        return []
    carried = _carried_round(settings)
    if carried is None:
        side = "no round of the table has them: LoadGen is newer than the table, or altered"
    elif rules.rounds().index(carried) < rules.rounds().index(wanted):
        side = f"they are those of {carried}: LoadGen is older; install the release of {wanted}"
    else:
        side = f"they are those of {carried}: the round asked for is older than LoadGen"
    listed = ", ".join(f"{key} {value}" for key, value in given.items())
    return [
        f"LoadGen carries the seeds {listed}, {wanted} has {seeds.as_settings()}; {side} ({seeds.source})"
    ]


def _compare_values(settings: Mapping[str, Any], known: BenchmarkRules, scenario: Scenario) -> list[str]:
    exact: dict[str, tuple[Any, str]] = {
        "use_token_latencies": (True, known.conf_source),
        "sample_concatenate_permutation": (True, known.conf_source),
    }
    least: dict[str, tuple[int, str]] = {
        "performance_sample_count_override": (known.samples.performance, known.samples.source),
        "min_duration_ms": (known.min_duration_ms, "conf:85,169"),
    }
    limits = known.latency.get(scenario)
    if limits:
        share = rules.table().run.latency_percentile
        exact["server_target_latency_percentile"] = (share.value, share.source)
        exact["ttft_latency"] = (limits.ttft_ns, limits.source)
        exact["tpot_latency"] = (limits.tpot_ns, limits.source)
    if known.samples.accuracy != known.samples.performance:
        exact["accuracy_sample_count_override"] = (known.samples.accuracy, known.samples.source)
    found = []
    for key, (value, source) in exact.items():
        if key in settings and settings[key] != value:
            found.append(_sentence(key, settings, str(value), known, source))
    for key, (value, source) in least.items():
        if key in settings and int(settings[key]) < value:
            found.append(_sentence(key, settings, f"at least {value}", known, source))
    return found


def _sentence(key: str, settings: Mapping[str, Any], wanted: str, known: BenchmarkRules, source: str) -> str:
    return (
        f"{known.name}: LoadGen has {key} = {settings[key]}, the rules of {known.round} have {wanted} "
        f"({rules.expand_source(source)}); {_age(settings, known.round)}"
    )


def _carried_round(settings: Mapping[str, Any]) -> str | None:
    if not all(key in settings for key in _SEED_KEYS):
        return None
    return rules.round_of_seeds(*(int(settings[key]) for key in _SEED_KEYS))


def _age(settings: Mapping[str, Any], wanted: str) -> str:
    carried = _carried_round(settings)
    if carried == wanted:
        return f"LoadGen carries the seeds of {wanted} too, so user.conf overrides it or the table is older"
    if carried is None:
        return "LoadGen carries seeds of no round of the table: LoadGen is newer than the table, or altered"
    older = rules.rounds().index(carried) < rules.rounds().index(wanted)
    return f"LoadGen carries the seeds of {carried}: LoadGen is {'older' if older else 'newer'} than {wanted}"
