"""Output limits of the samples of a run, held against the rules of its benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness_llm import rules
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import DatasetError
from harness_llm.results.records import RunRecord


def limits_of(table: SampleTable) -> rules.OutputLimits:
    """The output limits of a table that is not empty."""
    return rules.OutputLimits(
        int(table.max_tokens.min()), int(table.max_tokens.max()), int(table.min_tokens.max())
    )


def asked_limits(
    run_dir: Path, record: RunRecord, known: rules.BenchmarkRules
) -> Iterator[tuple[str, rules.Finding]]:
    """The output limits with which each test of a run asked; none of a table that cannot be read.

    Args:
        run_dir: The run folder.
        record: Its run.json.
        known: The rules of its benchmark.

    Yields:
        The name of the sample table's file, and what the rule says.
    """
    tables: dict[str, SampleTable] = {}
    for test in dict.fromkeys(name.rpartition("/")[2] for name in record.tests):
        file = record.dataset_of(test).file.rpartition("/")[2]
        try:
            if file not in tables:
                tables[file] = SampleTable.load(run_dir / file)
        except DatasetError:
            continue
        if len(tables[file]):
            yield file, rules.output_limits(known, test, limits_of(tables[file]))
