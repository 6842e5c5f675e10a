"""What people should know of a run before it starts: settings that do nothing, scores that are not made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness_llm import rules
from harness_llm.accuracy.metrics import Foreign, metric_of
from harness_llm.benchmark import Benchmark
from harness_llm.config.harness import RunConfig
from harness_llm.config.user_conf import UserConf
from harness_llm.core import Mode
from harness_llm.datasets.table import SampleTable

_LOADGEN_LIMIT_MS = (
    100  # loadgen/test_settings.h, server_target_latency_ns and server_ttft_latency, @b66003e1
)

_OF_THE_SAMPLES = {"model", "tokenizer", "tokenizer_mode", "trust_remote_code", "generation_config"}
"""Keys of llm_config that decide how samples are made and judged, whatever the engine is."""


def notes_on(
    configs: Sequence[RunConfig],
    tests: Sequence[str],
    table: SampleTable,
    user_conf: UserConf,
    benchmark: Benchmark,
) -> tuple[str, ...]:
    """One sentence for each thing to know.

    Args:
        configs: One for each scenario, of one benchmark.
        tests: The tests that will run.
        table: The samples that tests share.
        user_conf: LoadGen's user.conf, validated.
        benchmark: The benchmark of the run.
    """
    notes = [benchmark.note]
    metric = metric_of(benchmark, configs[0].harness_config.metric)
    if "accuracy" in tests and isinstance(metric, Foreign):
        notes.append(metric.note)
    official = benchmark.rules
    if official is not None and len(table) < official.samples.performance:
        notes.append(
            f"the data set has {len(table):,} samples, the rules of {official.name} ask for "
            f"{official.samples.performance:,}: LoadGen's log names the number of the rules; not a result"
        )
    if official is not None and not any(item.engine.is_simulated for item in configs):
        asked, limit = int(table.max_tokens.max()), official.output_limit(Mode.PERFORMANCE)
        if asked != limit:
            notes.append(
                f"answers may have {asked:,} tokens, the rules of {official.name} say {limit:,} "
                f"({rules.expand_source(official.generation.source)}): not a result"
            )
    notes += table.notes
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
        if unset := _unset_limits(config, user_conf, benchmark):
            notes.append(
                f"{config.harness_config.scenario}: user.conf sets no {' and no '.join(unset)}: LoadGen "
                f"judges by its own default, {_LOADGEN_LIMIT_MS} ms"
            )
    return tuple(note for note in dict.fromkeys(notes) if note)


def _without_effect(config: RunConfig, benchmark: Benchmark) -> Iterator[tuple[str, str]]:
    """(setting, where) of what was set and is not looked at, so that nobody believes that it was."""
    harness = config.harness_config
    engine = config.engine
    if not engine.takes_arguments and config.llm_config.keys() - _OF_THE_SAMPLES:
        yield "llm_config (all but the model and its tokenizer)", f"with the {engine.kind} engine"
    for name in ("metric", "reference"):
        if benchmark.is_official and getattr(harness, name) is not None:
            yield name, "for an official benchmark, which is judged by its rules"


def _unset_limits(config: RunConfig, user_conf: UserConf, benchmark: Benchmark) -> list[str]:
    """Latency limits of an own benchmark that nobody chose."""
    scenario = config.harness_config.scenario
    if benchmark.is_official or not scenario.is_timed_per_token:
        return []
    found = user_conf.settings_for(benchmark.loadgen_model(scenario), scenario)
    judged = ("ttft_latency", "tpot_latency") if found.get("use_token_latencies") else ("target_latency",)
    return [key for key in judged if key not in found]
