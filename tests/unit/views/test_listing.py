from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from golden.run_folder import build_run, edit

from harness_llm.cli.output import show_run
from harness_llm.errors import FolderError
from harness_llm.results.paths import RUN_JSON, TEST_JSON
from harness_llm.views.listing import list_runs, table
from harness_llm.views.run_summary import summarize

FAST = {"Server/performance": "toy-server-valid"}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs, one of them in a study, and a damaged one."""
    folder = tmp_path / "results"
    build_run(folder / "new", FAST)
    build_run(folder / "old", {"Server/performance": "toy-server-early-stopping"})
    build_run(folder / "study" / "runs" / "a", FAST)
    for name, day in (("new", 3), ("old", 1), ("study/runs/a", 2)):
        edit(folder / name / RUN_JSON, started_utc=f"2026-01-0{day}T00:00:00Z")
    edit(folder / "study" / "runs" / "a" / RUN_JSON, state="interrupted", marker="simulated, not a result")
    (folder / "damaged").mkdir()
    (folder / "damaged" / RUN_JSON).write_text("{")
    return folder


def test_every_run_is_listed_the_newest_last(runs: Path) -> None:
    found = list_runs(runs)
    assert [run.folder.name for run in found] == ["damaged", "old", "a", "new"]
    assert [run.verdict for run in found] == ["damaged", "INVALID", "interrupted", "VALID"]
    assert "not JSON" in found[0].remark and found[2].remark == "simulated, not a result"
    assert found[3].figures.startswith("Server ")
    assert len(table(found).rows) == 4
    assert [run.folder.name for run in list_runs(runs / "study")] == ["a"]
    assert list_runs(runs / "study" / "runs" / "a")[0].folder == runs / "study" / "runs" / "a"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no such folder"):
        list_runs(tmp_path / "none")
    assert list_runs(tmp_path) == []


def test_the_csv_has_loadgens_numbers(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_run(runs / "old", as_csv=True) == 1
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    shown = summarize(runs / "old").scenarios[0]
    assert float(row["tokens_per_s"]) == shown.tokens_per_s
    assert float(row["ttft_p99_ms"]) == shown.ttft_p99_ms
    assert (row["valid"], row["scenario"], row["benchmark"]) == ("False", "Server", "toy")
    assert "11 more queries" in row["reasons"]


def test_what_others_held_and_what_to_set_stand_under_the_table(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    period = {"from_s": 108, "to_s": 160, "cores": 1.4}
    edit(
        runs / "old" / "Server" / "performance" / TEST_JSON,
        others={"cores": 2, "mean": 0.3, "periods": [period]},
    )
    show_run(runs / "old")
    out = capsys.readouterr().out
    assert "  note: Server: others used 1.4 of 2 cores from 1:48 to 2:40\n" in out
    assert "set toy.Server.min_query_count = 459 or more" in out
