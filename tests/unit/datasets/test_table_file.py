"""A sample table's file that was cut or damaged: one error that names it, and nothing left open."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness_llm.datasets.table import SampleTable
from harness_llm.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    table = SampleTable(
        name="t",
        tokens=np.arange(5, dtype=np.int32),
        offsets=np.array([0, 2, 5]),
        max_tokens=np.array([3, 3], np.int32),
        min_tokens=np.array([2, 2], np.int32),
        references=("a", "b"),
    )
    table.save(tmp_path / "t.npz")
    return tmp_path / "t.npz"


def test_a_table_cut_anywhere_is_an_error_and_leaves_no_file_open(saved: Path) -> None:
    whole = saved.read_bytes()
    assert SampleTable.load(saved).references == ("a", "b")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for size in range(0, len(whole), 7):
            saved.write_bytes(whole[:size])
            with pytest.raises(DatasetError, match=r"t\.npz: not a sample table"):
                SampleTable.load(saved)
        gc.collect()


@pytest.mark.parametrize("content", [b"", b"text", np.arange(3).tobytes(), b"\x80\x04."], ids=repr)
def test_another_file_is_no_table(saved: Path, content: bytes) -> None:
    saved.write_bytes(content)
    with pytest.raises(DatasetError, match="not a sample table"):
        SampleTable.load(saved)


def test_a_table_of_another_format_says_so(saved: Path) -> None:
    with np.load(saved) as file:
        arrays = {**file, "format": np.int64(9)}
    np.savez(saved, **arrays)
    with pytest.raises(DatasetError, match="table format 9, this version reads 1"):
        SampleTable.load(saved)
