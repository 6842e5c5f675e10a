"""The samples of a run: one table that most tests share, and one of its own for a test that asks for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness_llm import datasets
from harness_llm.datasets.options import DatasetOptions
from harness_llm.errors import ConfigError
from harness_llm.results.paths import SHARED_SAMPLES, own_samples
from harness_llm.run.inputs import check_fit, check_reference
from harness_llm.scoring import check_scorable, unscored_note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness_llm.benchmark import Benchmark
    from harness_llm.config.model import HarnessConfig, RunConfig, TestDataset
    from harness_llm.datasets.table import SampleTable

__all__ = ["load_tables", "samples_file"]


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
    table = _load(
        configs[0],
        harness,
        DatasetOptions(
            samples=harness.dataset_samples,
            official=benchmark.is_official and harness.dataset_samples is None,
        ),
    )
    own = {
        name: _load(configs[0], given, DatasetOptions())
        for name, given in harness.tests.items()
        if name in tests
    }
    for config in configs:
        for each in (table, *own.values()):
            check_fit(config, each)
    for name in tests:
        _check_scorable(configs, name, own.get(name, table), benchmark)
    return table, own


def samples_file(test: str, own: Mapping[str, SampleTable]) -> str:
    """Name, in the run folder, of the file with the samples of a test, `performance` or `TEST07`."""
    return own_samples(test) if test in own else SHARED_SAMPLES


def _load(config: RunConfig, given: HarnessConfig | TestDataset, options: DatasetOptions) -> SampleTable:
    """One table, as the harness configuration or an entry of its `tests` describes it."""
    harness, checkpoint = config.harness_config, config.checkpoint
    return datasets.load(
        given.dataset,
        given.dataset_path,
        model_path=config.model_path,
        max_tokens=given.max_tokens or harness.max_tokens,
        min_tokens=harness.min_tokens,
        options=replace(
            options,
            chat_template=harness.chat_template,
            shape=given.dataset_shape or "",
            seed=harness.dataset_seed,
            vocab_size=(checkpoint and checkpoint.vocabulary_size) or _VOCABULARY,
        ),
    )


def _check_scorable(
    configs: Sequence[RunConfig], test: str, table: SampleTable, benchmark: Benchmark
) -> None:
    """Find now what would make a finished test impossible to score."""
    if any(config.engine.is_simulated for config in configs):
        if test == "accuracy" and table.references is not None:
            check_reference(configs[0], table, benchmark)
        return
    if test == "accuracy" and not unscored_note(benchmark):
        if table.references is None:
            raise ConfigError(
                f"the data set {table.name} has no reference answers, so accuracy cannot be scored",
                "Run with --test performance only, or add references to the data set.",
            )
        check_reference(configs[0], table, benchmark)
    check_scorable(configs[0], test, table, benchmark)
