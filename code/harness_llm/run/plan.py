"""What each LoadGen test of a run will be told and is expected to do."""

from __future__ import annotations

import math

import msgspec

from harness_llm import rules
from harness_llm.benchmark import Benchmark
from harness_llm.compliance import audit_test
from harness_llm.config.harness import RunConfig
from harness_llm.config.user_conf import LOADGEN_QPS, UserConf
from harness_llm.core import Mode, Scenario
from harness_llm.errors import ConfigError
from harness_llm.rules.settings import SLACK
from harness_llm.transport.spec import LoadgenTest

TESTS = ("performance", "accuracy")
"""The tests of every benchmark, and the ones that run where none are named."""

_COUNTED = ("performance", "accuracy")
_LOADGEN_MIN_QUERIES = 100  # loadgen/test_settings.h, min_query_count, @b66003e1


def plan_test(
    config: RunConfig, test: str, user_conf: UserConf, benchmark: Benchmark, samples: int, samples_file: str
) -> LoadgenTest:
    """Plan one test of one scenario.

    Args:
        config: The scenario's configuration.
        test: `performance`, `accuracy`, or a compliance test of the benchmark.
        user_conf: LoadGen's user.conf, validated.
        benchmark: The benchmark of the run.
        samples: Samples of the test's data set.
        samples_file: Name of the file that will hold them, in the run folder.

    Raises:
        ConfigError: The benchmark has no such test, or user.conf asks for samples that there are not.
    """
    harness = config.harness_config
    scenario = harness.scenario
    model = benchmark.loadgen_model(scenario)
    settings = user_conf.settings_for(model, scenario)
    _check_counts(test, settings, samples, user_conf)
    official = benchmark.rules
    planned = LoadgenTest(
        name=f"{scenario}/{test}",
        scenario=scenario,
        mode=Mode.ACCURACY if test == "accuracy" else Mode.PERFORMANCE,
        loadgen_model=model,
        user_conf=user_conf.text,
        target_qps=float(settings.get("target_qps", LOADGEN_QPS)),
        samples=samples_file,
        offline_backlog=harness.offline_backlog,
        silence_timeout_s=harness.silence_timeout_s,
        stall_timeout_s=harness.stall_timeout_s,
        on_replica_failure=harness.on_replica_failure or ("redispatch" if test == "accuracy" else "fail"),
        early_end=harness.early_end,
    )
    if test == "accuracy":
        asked = samples if official is None else min(samples, official.samples.accuracy)
        return msgspec.structs.replace(planned, expected=asked)
    if test == "performance":
        in_sets = official is not None or settings.get("sample_concatenate_permutation")
        expected = expected_queries(planned, settings, samples if in_sets else None)
        added = None if official is None else added_min_query_count(official, scenario, settings, samples)
        if added is not None:
            planned = planned.with_setting("min_query_count", added)
        limits = official.latency.get(scenario) if official is not None else None
        return msgspec.structs.replace(
            planned,
            expected=expected,
            ttft_limit_ms=limits.ttft_ms if limits is not None else settings.get("ttft_latency"),
            tpot_limit_ms=limits.tpot_ms if limits is not None else settings.get("tpot_latency"),
        )
    if official is None:
        return msgspec.structs.replace(planned, audit_conf=audit_test(test).audit())
    if test not in official.tests:
        known = (*TESTS, *official.tests)
        near = rules.nearest(test, known)
        raise ConfigError(
            f"{benchmark.name} has no test {test!r} in round {official.round}",
            f"{f'Did you mean {near}? ' if near else ''}It has {', '.join(known)}.",
        )
    asks_each_once = bool(official.tests[test].audit.get("performance_issue_unique"))
    is_other_size = asks_each_once and samples != official.samples.performance
    return msgspec.structs.replace(
        planned,
        expected=samples if asks_each_once else None,
        audit_conf=audit_test(test).audit(loaded_samples=samples if is_other_size else None),
    )


def added_min_query_count(
    known: rules.BenchmarkRules, scenario: Scenario, settings: dict[str, int | float], samples: int
) -> int | None:
    """The min_query_count that an Offline run over the whole data set is given; None where it needs none.

    It changes nothing of what is issued: LoadGen issues whole copies of the data set in any case, but the
    official checker counts what was asked for before.
    """
    if scenario is not Scenario.OFFLINE or samples < known.samples.performance:
        return None
    planned = rules.planned_settings(known, scenario, settings)
    is_enough = rules.samples_per_query(known, scenario, planned).passed
    return None if is_enough else known.samples.offline_minimum


def _check_counts(test: str, settings: dict[str, int | float], samples: int, user_conf: UserConf) -> None:
    """Refuse counts that LoadGen would log and not keep to: it asks for no more samples than there are."""
    loaded, asked = (int(settings.get(f"{name}_sample_count_override", 0)) for name in _COUNTED)
    if test == "accuracy" and asked not in (0, samples):
        raise ConfigError(
            f"{user_conf.path}: accuracy_sample_count_override is {asked}, the data set has {samples} "
            "samples, and an answer to each is scored",
            "Remove it; harness_config.dataset.samples takes fewer samples.",
        )
    if test != "accuracy" and loaded > samples:
        raise ConfigError(
            f"{user_conf.path}: performance_sample_count_override is {loaded}, the data set has {samples} "
            "samples: LoadGen would log a count that it does not load",
            "Remove it, or lower it.",
        )


def expected_queries(
    test: LoadgenTest, settings: dict[str, int | float], whole_sets_of: int | None = None
) -> int:
    """Queries of a performance test, estimated as LoadGen plans them (loadgen.cc, GenerateQueries).

    Args:
        test: The test.
        settings: What its user.conf says of its model and scenario.
        whole_sets_of: Samples of the data set, where each is asked equally often.
    """
    seconds = float(settings.get("min_duration", 600_000)) / 1000
    count = max(float(settings.get("min_query_count", _LOADGEN_MIN_QUERIES)), seconds * test.target_qps)
    if test.scenario is Scenario.OFFLINE:
        count = max(count, SLACK * seconds * test.target_qps)
    if whole_sets_of is not None:
        return math.ceil(count / whole_sets_of) * whole_sets_of
    return math.ceil(round(count, 6))
