"""Parquet files of samples, read by pyarrow a few hundred rows at a time."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness_llm.errors import DatasetError
from harness_llm.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

MAGIC = b"PAR1"
"""What a Parquet file begins with."""

_BATCH_ROWS = 512


def read_parquet(
    path: Path, wanted: Callable[[Collection[str]], Collection[str] | None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and columns of each row, without its empty cells.

    Args:
        path: The file.
        wanted: Given all columns, those to read; None reads all. Of the others no byte is looked at.

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
            names = wanted(table.schema_arrow.names)
            columns = None if names is None else list(names)
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                for row in batch.to_pylist():
                    yield (
                        f"{path}, row {number}",
                        {key: value for key, value in row.items() if value is not None},
                    )
                    number += 1
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise DatasetError(
            f"{path}: cannot be read as Parquet: {error}", "Check the path and the file."
        ) from error
