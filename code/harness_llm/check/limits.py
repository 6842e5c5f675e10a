"""Output limits of the samples of a run, held against the rules of its benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness_llm.core import Mode
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import DatasetError
from harness_llm.results.records import RunRecord
from harness_llm.rules import BenchmarkRules

_LEAST_TOKENS = 2  # LoadGen counts an answer of one token as an error


@dataclass(frozen=True)
class AskedLimits:
    """The output limits of one test's samples.

    Attributes:
        test: `performance`, `accuracy`, `TEST07`.
        file: Its sample table in the run folder.
        fits: Whether every sample has the limits of the rules.
        found: The limits, for people.
        required: Those of the rules, for people.
    """

    test: str
    file: str
    fits: bool
    found: str
    required: str


def asked_limits(run_dir: Path, record: RunRecord, known: BenchmarkRules) -> Iterator[AskedLimits]:
    """The output limits with which each test of a run asked; none of a table that cannot be read.

    Args:
        run_dir: The run folder.
        record: Its run.json.
        known: The rules of its benchmark.
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
            yield _asked(test, file, tables[file], known)


def _asked(test: str, file: str, table: SampleTable, known: BenchmarkRules) -> AskedLimits:
    limit = known.output_limit(Mode.ACCURACY if test == "accuracy" else Mode.PERFORMANCE)
    least = max(_LEAST_TOKENS, known.generation.min_tokens)
    low, high, forced = int(table.max_tokens.min()), int(table.max_tokens.max()), int(table.min_tokens.max())
    return AskedLimits(
        test=test,
        file=file,
        fits=low == high == limit and forced <= least,
        found=f"max_tokens {low if low == high else f'{low} to {high}'}, min_tokens {forced}",
        required=f"max_tokens {limit}, min_tokens of {least} at most",
    )
