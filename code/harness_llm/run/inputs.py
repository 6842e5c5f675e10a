"""Checks of what a run is made from, before it starts: configurations, LoadGen, checkpoint, reference."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness_llm import datasets, rules
from harness_llm.benchmark import Benchmark
from harness_llm.config.harness import RunConfig
from harness_llm.core import Scenario
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import ConfigError, HostError
from harness_llm.launch.local import child_environment

_LOADGEN_SPEAKS_S = 120.0  # it takes a second; a cold network disk takes many
_MAY_DIFFER = {
    "scenario", "engine", "replicas", "engine_env", "offline_backlog", "measured_rate",
    "engine_start_timeout_s", "silence_timeout_s", "stall_timeout_s", "on_replica_failure",
}  # fmt: skip


def check_same_benchmark(configs: Sequence[RunConfig]) -> None:
    """One run is one benchmark over one data set, each scenario once.

    Raises:
        ConfigError: It is not.
    """
    if not configs:
        raise ConfigError("no configuration given", "Give one --config FILE for each scenario.")
    seen: set[Scenario] = set()
    first = configs[0].harness_config
    for config in configs:
        harness = config.harness_config
        if harness.scenario in seen:
            raise ConfigError(
                f"scenario {harness.scenario} is configured twice", "Pass exactly one --config per scenario."
            )
        seen.add(harness.scenario)
        for name, one, other in _differences(
            first.model_dump(exclude=_MAY_DIFFER), harness.model_dump(exclude=_MAY_DIFFER)
        ):
            raise ConfigError(
                f"harness_config.{name} differs between {first.scenario} ({one}) and {harness.scenario} "
                f"({other})",
                "One run is one benchmark over one data set; run them apart, or make them equal.",
            )


def _differences(one: dict[str, Any], other: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Dotted key and both values of each difference."""
    for key in {**one, **other}:
        left, right = one.get(key), other.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            yield from ((f"{key}.{name}", *pair) for name, *pair in _differences(left, right))
        elif left != right:
            yield key, left, right


def check_loadgen(benchmark: Benchmark, scenario: Scenario) -> None:
    """Hold the rules table against the mlperf.conf inside LoadGen, before LoadGen decides by it.

    Raises:
        ConfigError: They differ.
        HostError: LoadGen does not load.
    """
    if not benchmark.is_official:
        return
    differences = rules.compare_with_loadgen(
        loadgen_settings(benchmark.loadgen_model(scenario), scenario), benchmark.rules, scenario
    )
    if differences:
        raise ConfigError(
            "\n".join(differences), "Install the LoadGen release of the round, or update the rules."
        )


def loadgen_settings(model: str, scenario: Scenario, user_conf: Path | None = None) -> dict[str, Any]:
    """LoadGen's `TestSettings` of a performance test, by LoadGen itself.

    Raises:
        HostError: LoadGen does not load.
    """
    files = [] if user_conf is None else [str(user_conf)]
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "harness_llm.loadgen.embedded", model, scenario, *files],
            capture_output=True,
            text=True,
            check=False,
            env=child_environment({}),
            timeout=_LOADGEN_SPEAKS_S,
        )
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"LoadGen did not start within {_LOADGEN_SPEAKS_S:g} s",
            "Check CPU and disk load.",
        ) from error
    if answer.returncode:
        raise HostError(
            f"LoadGen does not load: {answer.stderr.strip()[-500:]}", "Set the environment up again."
        )
    settings: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return settings


def check_decoding(config: RunConfig, benchmark: Benchmark) -> None:
    """Whether answers are made as the rules of an official benchmark ask.

    Raises:
        ConfigError: They are not; each broken rule in its own words.
    """
    official, engine = benchmark.rules, config.engine
    if official is None or engine.is_simulated:
        return
    scenario = config.harness_config.scenario
    made = engine.decoding(config.llm_config, {}, config.checkpoint)
    found = rules.decoding_findings(official, scenario, made, benchmark.end_tokens)
    broken = [finding for finding in found if finding.passed is False]
    if broken:
        said = [
            f"{scenario}: {finding.found}; the rules of {official.name} in {official.round}: "
            f"{finding.required} ({rules.expand_source(finding.source)})"
            for finding in broken
        ]
        remedies = " ".join(dict.fromkeys(finding.remedy for finding in broken))
        raise ConfigError("\n".join(said), f"{remedies} For open, run it as a benchmark of your own.")


def check_tests(config: RunConfig, benchmark: Benchmark) -> None:
    """Refuse samples for a test that the benchmark does not have, and would never run.

    Raises:
        ConfigError: harness_config.tests names one.
    """
    known = () if benchmark.rules is None else ("accuracy", *benchmark.rules.tests)
    for name in config.harness_config.tests if known else ():
        if name not in known:
            raise ConfigError(
                f"harness_config.tests.{name}: {benchmark.name} has no such test",
                f"Remove it; this benchmark has {', '.join(known)}.",
            )


def check_rate(config: RunConfig, benchmark: Benchmark) -> None:
    """Refuse to choose the rate of an official benchmark: its submitter chooses it, and stands for it.

    Raises:
        ConfigError: harness_config.measured_rate is set for one.
    """
    if benchmark.is_official and config.harness_config.measured_rate is not None:
        raise ConfigError(
            f"harness_config.measured_rate is not for {benchmark.name}, an official benchmark",
            "Remove it, and set target_qps in user.conf.",
        )


def check_model(config: RunConfig) -> None:
    """Look at the checkpoint folder: what is plainly missing is said now, not after a load of minutes.

    Raises:
        ModelError: The folder, its configuration or its weights are missing.
    """
    engine, checkpoint = config.engine, config.checkpoint
    if engine.needs_checkpoint:
        assert checkpoint is not None
        checkpoint.require(
            weights=engine.needs_weights(config.llm_config),
            tokenizer=engine.needs_tokenizer(config.llm_config),
        )


def check_fit(config: RunConfig, table: SampleTable) -> None:
    """Whether every sample fits the context and the vocabulary of the model.

    Raises:
        DatasetError: One does not.
        ModelError: The checkpoint's config.json cannot be read.
    """
    engine, checkpoint = config.engine, config.checkpoint
    limit = engine.max_sequence_tokens(config.llm_config, checkpoint)
    if limit is not None:
        vocabulary = None if checkpoint is None else checkpoint.vocabulary_size
        datasets.validate_fit(table, limit, vocab_size=vocabulary, setting=engine.length_from)
