"""What each LoadGen test of a run will be told and is expected to do."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from harness_llm import rules
from harness_llm.compliance.audit import audit_config
from harness_llm.core import Mode, Scenario
from harness_llm.errors import ConfigError
from harness_llm.scoring import rules_of
from harness_llm.supervise.plan import PlannedTest

if TYPE_CHECKING:
    from harness_llm.config.model import RunConfig
    from harness_llm.config.user_conf import UserConf

__all__ = ["TESTS", "plan_test"]

TESTS = ("performance", "accuracy")
"""The tests of every benchmark, and the ones that run where none are named."""

_LOADGEN_MIN_QUERIES = 100  # loadgen/test_settings.h, min_query_count, @b66003e1


def plan_test(config: RunConfig, test: str, user_conf: UserConf, samples: int) -> PlannedTest:
    """Plan one test of one scenario.

    Args:
        config: The scenario's configuration.
        test: `performance`, `accuracy`, or a compliance test of the benchmark.
        user_conf: LoadGen's user.conf, validated.
        samples: Samples of the test's data set.

    Raises:
        ConfigError: The benchmark has no such test.
    """
    harness = config.harness_config
    scenario = harness.scenario
    model = rules.loadgen_model(harness.benchmark, scenario)
    settings = user_conf.settings_for(model, scenario)
    official = rules_of(harness.benchmark)
    limits = official.latency.get(scenario) if official is not None else None
    planned = PlannedTest(
        name=f"{scenario}/{test}",
        config=config,
        mode=Mode.ACCURACY if test == "accuracy" else Mode.PERFORMANCE,
        loadgen_model=model,
        target_qps=float(settings["target_qps"]),
        expected=None,
        ttft_limit_ms=limits.ttft_ms if limits is not None else settings.get("ttft_latency"),
        tpot_limit_ms=limits.tpot_ms if limits is not None else settings.get("tpot_latency"),
    )
    if test == "accuracy":
        asked = samples if official is None else min(samples, official.samples.accuracy)
        return replace(planned, expected=asked)
    if test == "performance":
        return replace(planned, expected=_expected_queries(planned, settings, official is not None, samples))
    if official is None:
        return replace(planned, audit_conf=audit_config(test))
    if test not in official.tests:
        known = ", ".join((*TESTS, *official.tests))
        raise ConfigError(
            f"{harness.benchmark} has no test {test!r} in round {official.round}", f"It has {known}."
        )
    asks_each_once = bool(official.tests[test].audit.get("performance_issue_unique"))
    is_other_size = asks_each_once and samples != official.samples.performance
    return replace(
        planned,
        expected=samples if asks_each_once else None,
        audit_conf=audit_config(test, loaded_samples=samples if is_other_size else None),
    )


def _expected_queries(
    test: PlannedTest, settings: dict[str, int | float], is_official: bool, samples: int
) -> int:
    """Queries of a performance test, estimated as LoadGen plans them (loadgen.cc, GenerateQueries)."""
    seconds = float(settings.get("min_duration", 600_000)) / 1000
    count = max(float(settings.get("min_query_count", _LOADGEN_MIN_QUERIES)), seconds * test.target_qps)
    if test.config.harness_config.scenario is Scenario.OFFLINE:
        count = max(count, 1.1 * seconds * test.target_qps)
    if is_official or settings.get("sample_concatenate_permutation"):
        return math.ceil(count / samples) * samples
    return math.ceil(round(count, 6))
