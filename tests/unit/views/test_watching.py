from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from golden.run_folder import build_run, edit
from typer.testing import CliRunner

from harness_llm.cli import app
from harness_llm.errors import FolderError
from harness_llm.results.live_file import LiveFile
from harness_llm.results.live_records import LiveRecord, TestState
from harness_llm.results.paths import LIVE_JSONL, RUN_JSON
from harness_llm.results.run_folder import RunFolder
from harness_llm.testing import RecordingView
from harness_llm.views.watching import follow

if TYPE_CHECKING:
    from pathlib import Path


def _record(second: float) -> LiveRecord:
    test = TestState(name="Server/performance", began_at_s=0.0, done=int(second), changed_at_s=second)
    stage = "Server/performance"
    said = ("Server/performance: begins",) if second == 1 else ()
    return LiveRecord(version=1, at_s=second, began_at_s=0.0, stage=stage, tests=(test,), said=said)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = build_run(tmp_path / "run", {"Server/performance": "toy-server-valid"})
    file = LiveFile(folder)
    for second in range(1, 31):
        file.take(_record(second))
    file.take(LiveRecord(version=1, at_s=30.5, began_at_s=0.0, stage="complete"))
    file.close()
    return folder


def _files(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()
    }


def test_a_finished_run_is_shown_to_its_end_and_not_touched(run: Path) -> None:
    view, before = RecordingView(), _files(run)
    follow(run, view, sleep=lambda _: pytest.fail("it has ended"))
    assert [record.at_s for record in view.records] == [*range(1, 31), 30.5]
    assert view.said == ["the run is complete"]
    assert _files(run) == before


def test_a_killed_run_is_shown_and_said_to_be_one(run: Path) -> None:
    edit(run / RUN_JSON, state="running")
    with (run / LIVE_JSONL).open("ab") as file:
        file.write(b'{"version":1,"at_s":31.0,"beg')
    view = RecordingView()
    follow(run, view)
    assert len(view.records) == 31
    assert view.said[0].startswith("the run is cut off: its process was killed")


def test_a_live_run_is_followed_until_it_ends(run: Path) -> None:
    view, holder, file = RecordingView(), RunFolder(run), LiveFile(run)
    looks: list[int] = []

    def sleep(_: float) -> None:
        looks.append(len(view.records))
        file.take(_record(30.0 + len(looks)))
        if len(looks) == 4:
            holder.__exit__()

    holder.__enter__()
    try:
        follow(run, view, sleep)
    finally:
        holder.__exit__()
        file.close()
    assert looks == [31, 32, 33, 34] and len(view.records) == 35


def test_what_is_no_run_or_has_no_live_file_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no run folder"):
        follow(tmp_path, RecordingView())
    (run / LIVE_JSONL).unlink()
    with pytest.raises(FolderError, match="a run of an earlier version has none"):
        follow(run, RecordingView())


@pytest.mark.parametrize("style", ["plain", "rich"])
def test_the_verb_shows_what_was_said_and_how_it_stands(run: Path, style: str) -> None:
    result = CliRunner().invoke(app, ["watch", str(run), "--view", style])
    assert result.exit_code == 0, result.output
    for part in ("[  0:01] Server/performance: begins", "30 done", "ended", "[  0:31] the run is complete"):
        assert part in result.output, result.output
    assert ("\x1b" in result.output) is (style == "rich")
