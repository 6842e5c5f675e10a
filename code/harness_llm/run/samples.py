"""The samples of a run: one table that most tests share, and one of its own for a test that asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness_llm.accuracy import gates_of
from harness_llm.accuracy.metrics import Foreign, metric_named, metric_of
from harness_llm.accuracy.reference import Reference
from harness_llm.benchmark import Benchmark
from harness_llm.checkpoint import weights_digest
from harness_llm.compliance import AUDIT_TESTS
from harness_llm.config.harness import HarnessConfig, OwnSamples, RunConfig
from harness_llm.core import GenerationLimits
from harness_llm.datasets import kinds
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import ConfigError
from harness_llm.results.paths import SHARED_SAMPLES, own_samples
from harness_llm.run.inputs import check_fit

_VOCABULARY = 32_000  # of synthetic samples, where no checkpoint says


def load_tables(
    configs: Sequence[RunConfig], tests: Sequence[str], benchmark: Benchmark
) -> tuple[SampleTable, dict[str, SampleTable]]:
    """Load and check the samples of every test.

    Args:
        configs: One for each scenario, of one benchmark.
        tests: The tests that will run.
        benchmark: The benchmark of the run.

    Returns:
        The table that tests share, and by test the table of each that has its own.

    Raises:
        UsageError: Samples that cannot be read, do not fit the model, or cannot be scored.
    """
    harness = configs[0].harness_config
    table = shared_table(configs[0], benchmark)
    own = {name: _load(configs[0], given) for name, given in harness.tests.items() if name in tests}
    for config in configs:
        for each in (table, *own.values()):
            check_fit(config, each)
    for name in tests:
        _check_scorable(configs, name, own.get(name, table), benchmark)
    return table, own


def shared_table(config: RunConfig, benchmark: Benchmark) -> SampleTable:
    """The samples of every test that has none of its own.

    Raises:
        UsageError: They cannot be read.
    """
    harness = config.harness_config
    is_whole = harness.dataset.samples is None
    return _load(config, harness, official=benchmark.is_official and is_whole)


def samples_file(test: str, own: Mapping[str, SampleTable]) -> str:
    """Name, in the run folder, of the file with the samples of a test, `performance` or `TEST07`."""
    return own_samples(test) if test in own else SHARED_SAMPLES


def _load(config: RunConfig, given: HarnessConfig | OwnSamples, *, official: bool = False) -> SampleTable:
    """One table, as the harness configuration or an entry of its `tests` describes it."""
    harness, checkpoint = config.harness_config, config.checkpoint
    reading = Reading(
        limits=GenerationLimits(
            min_tokens=harness.min_tokens, max_tokens=given.max_tokens or harness.max_tokens
        ),
        tokenizer_choice=config.tokenizer_choice,
        vocab_size=(checkpoint and checkpoint.vocabulary_size) or _VOCABULARY,
        official=official,
        context=config.engine.max_sequence_tokens(config.llm_config, checkpoint),
    )
    return kinds.load(given.dataset, reading)


def _check_scorable(
    configs: Sequence[RunConfig], test: str, table: SampleTable, benchmark: Benchmark
) -> None:
    """Find now what would make a finished test impossible to score."""
    is_simulated = any(config.engine.is_simulated for config in configs)
    if test == "accuracy":
        _check_accuracy(configs[0], table, benchmark, is_simulated=is_simulated)
    elif test in AUDIT_TESTS and (name := AUDIT_TESTS[test].metric) is not None and not is_simulated:
        metric_named(name).check(table)


def _check_accuracy(
    config: RunConfig, table: SampleTable, benchmark: Benchmark, *, is_simulated: bool
) -> None:
    """What an accuracy test needs: references, whatever its metric needs, gates of this very run."""
    harness = config.harness_config
    metric = metric_of(benchmark, harness.metric)
    if isinstance(metric, Foreign) or (is_simulated and table.references is None):
        return
    gates = gates_of(benchmark, harness.reference)
    judged = () if gates is None else tuple(gates.scores if isinstance(gates, Reference) else gates.minimum)
    if strange := sorted(set(judged) - set(metric.scores)):
        raise ConfigError(
            f"{harness.reference}: has the score {strange[0]}, which the metric {metric.name} does not give",
            "Make the reference again with `harness-llm reference`, or change harness_config.metric.",
        )
    if not is_simulated:
        metric.check(table, judged)
    if isinstance(gates, Reference) and config.model_path is not None:
        gates.gates(table, weights_digest(config.model_path))
