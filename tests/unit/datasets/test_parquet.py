"""Parquet files of samples: ours, and MLCommons' own, of which two columns are read."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness_llm.core import GenerationLimits
from harness_llm.datasets import SampleTable
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.prompts import Prompts
from harness_llm.errors import DatasetError

Columns = dict[str, list[Any]]


class _Parquet:
    """pyarrow.parquet as far as it is used; notes which columns are asked for."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.asked: list[list[str] | None] = []

    def ParquetFile(self, _: object) -> _Parquet:  # noqa: N802 - pyarrow's name
        return self

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def schema_arrow(self) -> SimpleNamespace:
        return SimpleNamespace(names=list(self.columns))

    def iter_batches(self, *, batch_size: int, columns: list[str] | None) -> Any:
        self.asked.append(columns)
        names = list(self.columns) if columns is None else columns
        rows = [
            dict(zip(names, cells, strict=True))
            for cells in zip(*(self.columns[name] for name in names), strict=True)
        ]
        for start in range(0, len(rows), 2):  # as if batch_size were 2
            assert batch_size > 2
            yield SimpleNamespace(to_pylist=lambda start=start: rows[start : start + 2])


def _load(path: Path) -> SampleTable:
    return Prompts(path=path).read(Reading(GenerationLimits(min_tokens=2, max_tokens=64)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "acc.parquet"
    path.write_bytes(b"PAR1")
    return path


def test_parquet_without_pyarrow_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DatasetError, match="need the package pyarrow"):
        _load(path)


@pytest.mark.parametrize("column", ["tok_input", "input_tokens"])
def test_of_mlcommons_own_files_two_columns_are_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    stand_in = _Parquet(
        {
            "dataset": ["gpqa", "aime25", "x"],
            "ground_truth": ["C", 12, None],
            "question": ["?", None, ""],
            column: [[5, 6], [7], [8]],
        }
    )
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", stand_in)
    table = _load(path)
    assert [table.prompt(index).tolist() for index in range(3)] == [[5, 6], [7], [8]]
    assert table.references == ("C", "12", "")
    assert table.max_tokens.tolist() == [64, 64, 64]
    del stand_in.columns["ground_truth"]
    assert _load(path).references is None
    assert stand_in.asked == [[column, "ground_truth"], [column]]
    stand_in.columns[column][2] = None
    with pytest.raises(DatasetError, match=r"acc\.parquet, row 2"):
        _load(path)


def test_a_column_that_is_no_key_of_ours_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt one, that is: one that is nothing of ours is left out, with a note."""
    stand_in = _Parquet({"token_ids": [[5, 6]], "max_token": [9]})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", stand_in)
    with pytest.raises(
        DatasetError, match="max_token: no column of a sample is called so; did you mean max_tokens"
    ):
        _load(path)


def test_rows_are_samples(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is optional and pyarrow is not installed")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    columns = {"token_ids": [[5, 6], [7]], "reference": ["a", "b"], "max_tokens": [None, 9]}
    parquet.write_table(pyarrow.table(columns), path)
    table = _load(path)
    assert [table.prompt(index).tolist() for index in range(2)] == [[5, 6], [7]]
    assert table.max_tokens.tolist() == [64, 9]
    path.write_bytes(b"PAR1 damaged")
    with pytest.raises(DatasetError, match="cannot be read as Parquet"):
        _load(path)


def test_a_column_that_is_not_needed_may_be_damaged(tmp_path: Path) -> None:
    """Its bytes are never looked at, so a file of gigabytes costs what its tokens cost."""
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is optional and pyarrow is not installed")
    from pyarrow import parquet

    path = tmp_path / "acc.parquet"
    count = 1200  # more than two batches
    columns = {
        "text_input": [f"needless {number}" for number in range(count)],
        "input_tokens": [[number, number + 1] for number in range(count)],
        "ground_truth": [str(number) for number in range(count)],
    }
    parquet.write_table(
        pyarrow.table(columns), path, use_dictionary=False, compression="none", row_group_size=700
    )
    body = path.read_bytes()
    damaged = body.replace(b"needless", b"\xff\xff\xff\xff\xff\xff\xff\xff")
    assert damaged != body
    path.write_bytes(damaged)
    table = _load(path)
    assert table.references == tuple(str(number) for number in range(count))
    assert [table.prompt(index).tolist() for index in (0, 699, 700, 1199)] == [
        [0, 1], [699, 700], [700, 701], [1199, 1200]
    ]  # fmt: skip
