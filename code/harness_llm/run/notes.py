"""What people should know of a run before it starts: settings that do nothing, scores that are not made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness_llm import rules
from harness_llm.accuracy.metrics import Foreign, metric_of
from harness_llm.benchmark import Benchmark
from harness_llm.check.limits import limits_of
from harness_llm.config.harness import RunConfig
from harness_llm.config.user_conf import UserConf
from harness_llm.datasets.table import SampleTable
from harness_llm.run.plan import added_min_query_count

_LOADGEN_LIMIT_MS = (
    100  # loadgen/test_settings.h, server_target_latency_ns and server_ttft_latency, @b66003e1
)

_OF_THE_SAMPLES = {"model", "tokenizer", "tokenizer_mode", "trust_remote_code", "generation_config"}
"""Keys of llm_config that decide how samples are made and judged, whatever the engine is."""


def notes_on(
    configs: Sequence[RunConfig],
    tests: Sequence[str],
    tables: Mapping[str, SampleTable],
    user_conf: UserConf,
    benchmark: Benchmark,
) -> tuple[str, ...]:
    """One sentence for each thing to know.

    Args:
        configs: One for each scenario, of one benchmark.
        tests: The tests that will run.
        tables: The samples of each test, and of `performance`.
        user_conf: LoadGen's user.conf, validated.
        benchmark: The benchmark of the run.
    """
    notes = [benchmark.note]
    metric = metric_of(benchmark, configs[0].harness_config.metric)
    if "accuracy" in tests and isinstance(metric, Foreign):
        notes.append(metric.note)
    if benchmark.rules is not None:
        for config in configs:
            notes += _against_rules(config, tests, tables, user_conf, benchmark.rules)
    notes += user_conf.notes
    notes += tables["performance"].notes
    for config in configs:
        notes += config.engine.notes(config.llm_config, config.checkpoint)
        notes += [
            f"{config.harness_config.scenario}: {setting} does nothing {where}"
            for setting, where in _without_effect(config, benchmark)
        ]
        if config.harness_config.measured_rate is not None:
            notes.append(
                f"{config.harness_config.scenario}: target_qps is not user.conf's but "
                f"{config.harness_config.measured_rate:.0%} of what the machine holds right before"
            )
        if "performance" in tests and benchmark.rules is None:
            notes += _not_of_performance(config, user_conf, benchmark)
        if unset := _unset_limits(config, user_conf, benchmark):
            notes.append(
                f"{config.harness_config.scenario}: user.conf sets no {' and no '.join(unset)}: LoadGen "
                f"judges by its own default, {_LOADGEN_LIMIT_MS} ms"
            )
    return tuple(note for note in dict.fromkeys(notes) if note)


def _against_rules(
    config: RunConfig,
    tests: Sequence[str],
    tables: Mapping[str, SampleTable],
    user_conf: UserConf,
    known: rules.BenchmarkRules,
) -> Iterator[str]:
    """What `check` will not let pass as a result of an official benchmark, in its own words."""
    scenario, is_simulated = config.harness_config.scenario, config.engine.is_simulated
    settings = user_conf.settings_for(known.loadgen_model(scenario), scenario)
    table = tables["performance"]
    data = rules.data_set(known, table.name, len(table))
    found = [] if is_simulated and len(table) == known.samples.performance else [data]
    if not is_simulated:
        found += [rules.output_limits(known, test, limits_of(tables[test])) for test in tests]
    if "performance" in tests:
        added = added_min_query_count(known, scenario, settings, len(table))
        if added is not None:
            yield (
                f"{scenario}: target_qps and min_duration ask for fewer samples than the data set has "
                f"({known.samples.offline_minimum:,}), which the official checker refuses: "
                f"min_query_count = {added} was added to the test's user.conf"
            )
            settings = {**settings, "min_query_count": added}
        planned = rules.planned_settings(known, scenario, settings)
        found += rules.settings_findings(known, scenario, planned)
    for finding in found:
        if finding.passed is False:
            yield (
                f"{scenario}: {finding.found}; the rules of {known.name} ask for {finding.required} "
                f"({rules.expand_source(finding.source)}): not a result, `check` refuses it as {finding.name}"
            )


def _without_effect(config: RunConfig, benchmark: Benchmark) -> Iterator[tuple[str, str]]:
    """(setting, where) of what was set and is not looked at, so that nobody believes that it was."""
    harness = config.harness_config
    engine = config.engine
    if not engine.takes_arguments and config.llm_config.keys() - _OF_THE_SAMPLES:
        yield "llm_config (all but the model and its tokenizer)", f"with the {engine.kind} engine"
    hangs, replicas = getattr(engine, "hang_replica", None), harness.replicas or 1
    if hangs is not None and hangs >= replicas:
        yield f"engine.hang_replica {hangs}", f"where the last of {replicas} replicas is {replicas - 1}"
    for name in ("metric", "reference"):
        if benchmark.is_official and getattr(harness, name) is not None:
            yield name, "for an official benchmark, which is judged by its rules"


def _not_of_performance(config: RunConfig, user_conf: UserConf, benchmark: Benchmark) -> Iterator[str]:
    """Settings of an own benchmark that make a test another one than a performance test."""
    scenario = config.harness_config.scenario
    found = user_conf.settings_for(benchmark.loadgen_model(scenario), scenario)
    for key in rules.NOT_OF_PERFORMANCE:
        if found.get(key):
            yield (
                f"{scenario}: user.conf sets {key} = {found[key]:g}, for a compliance or a trial run"
                f"{': one sample is asked again and again' * (key == 'performance_issue_same')}; "
                "`check` refuses the result"
            )


def _unset_limits(config: RunConfig, user_conf: UserConf, benchmark: Benchmark) -> list[str]:
    """Latency limits of an own benchmark that nobody chose."""
    scenario = config.harness_config.scenario
    if benchmark.is_official or not scenario.is_timed_per_token:
        return []
    found = user_conf.settings_for(benchmark.loadgen_model(scenario), scenario)
    judged = ("ttft_latency", "tpot_latency") if found.get("use_token_latencies") else ("target_latency",)
    return [key for key in judged if key not in found]
