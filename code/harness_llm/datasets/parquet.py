"""Parquet files of samples: our own columns, or those of MLCommons' files, of which two are read."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness_llm.errors import DatasetError
from harness_llm.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_TOKEN_COLUMNS = ("tok_input", "input_tokens")
_REFERENCE_COLUMN = "ground_truth"
"""Columns of MLCommons' own Parquet files, older and newer name of the first (language/gpt-oss-120b:
utils/tokenization.py lines 121-124, eval_mlperf_accuracy.py line 384, @b66003e1)."""
_BATCH_ROWS = 512


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Row number (from 0) and keys of each sample, as a line of a `.jsonl` file would hold them.

    A file with a column `tok_input` or `input_tokens` is one of MLCommons': that column holds the token ids,
    `ground_truth`, where there is one, the references (a missing one is empty), and no other column is read.
    Of any other file all columns are read; empty cells are left out.

    Raises:
        DatasetError: pyarrow is not installed, or the file cannot be read.
    """
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise DatasetError(
            f"{path}: Parquet files need the package pyarrow, which is not installed",
            "Install pyarrow, or save the samples as .jsonl.",
        ) from error
    number = 0
    try:
        with open_regular(path) as file, parquet.ParquetFile(file) as table:
            columns = _official_columns(table.schema_arrow.names)
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                for row in batch.to_pylist():
                    yield number, _present(row) if columns is None else _from_official(row, columns[0])
                    number += 1
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise DatasetError(
            f"{path}: cannot be read as Parquet: {error}", "Check the path and the file."
        ) from error


def _official_columns(names: list[str]) -> list[str] | None:
    """Columns to read of one of MLCommons' files, the token ids first; None for a file of another kind."""
    tokens = next((name for name in _TOKEN_COLUMNS if name in names), None)
    if tokens is None:
        return None
    return [tokens, _REFERENCE_COLUMN] if _REFERENCE_COLUMN in names else [tokens]


def _present(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}


def _from_official(row: dict[str, Any], tokens: str) -> dict[str, Any]:
    sample: dict[str, Any] = {"token_ids": row[tokens]}
    if _REFERENCE_COLUMN in row:
        truth = row[_REFERENCE_COLUMN]
        sample["reference"] = "" if truth is None else str(truth)
    return sample
