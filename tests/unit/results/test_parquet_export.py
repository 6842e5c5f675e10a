from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from golden.run_folder import build_run

from harness_llm.results.parquet_export import COLUMNS
from harness_llm.results.reading import read_record
from harness_llm.results.records import TestRecord
from harness_llm.results.sample_rows import read_sample_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., tuple[int, str, str]]

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra parquet)")
DOCUMENT = Path(__file__).parents[3] / "docs" / "report.md"


@pytest.fixture
def table(tmp_path: Path, command: Command) -> Path:
    run = build_run(tmp_path / "run")
    code, out, _ = command("export", run, "--parquet", tmp_path / "samples.parquet", "--json")
    assert code == 0 and json.loads(out)["rows"] > 100
    return tmp_path / "samples.parquet"


def test_every_sample_is_there_with_the_columns_that_are_promised(table: Path) -> None:
    read = parquet.read_table(table)
    assert read.column_names == list(COLUMNS)
    for name, meaning in COLUMNS.items():
        assert read.schema.field(name).metadata[b"description"].decode() == meaning
    folder = table.parent / "run" / "Server" / "performance"
    rows = read_sample_rows(folder, read_record(folder / "test.json", TestRecord))
    own = read.filter([test == "Server/performance" for test in read["test"].to_pylist()])
    assert len(own) == len(rows) > 100
    for name in ("sample", "tokens", "ttft_ms", "tpot_ms", "latency_ms"):
        assert np.array_equal(own[name].to_numpy(), getattr(rows, name)), name
    offline = read.filter([test == "Offline/performance" for test in read["test"].to_pylist()])
    assert offline["ttft_ms"].null_count == len(offline) > 0
    assert set(read["status"].to_pylist()) == {"FINISHED"}


def test_the_columns_are_documented() -> None:
    listed = re.findall(r"^\| `(\w+)` \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert dict(listed) == COLUMNS


def test_a_run_without_samples_is_refused(tmp_path: Path, command: Command) -> None:
    code, _, err = command("export", tmp_path, "--parquet", tmp_path / "x.parquet")
    assert code == 2 and "run.json" in err
    assert not (tmp_path / "x.parquet").exists()
