from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness_llm.errors import FolderError, HostError
from harness_llm.results.folder import RunFolder, read_json, utc_now, write_json

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_is_made_and_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "a" / "run"
    with RunFolder(path) as folder:
        assert folder.state() is None
        with pytest.raises(FolderError, match=f"{path}: another run is using"), RunFolder(path):
            pass
        folder.record(state="running")
    with RunFolder(path) as folder:
        assert folder.state() == {"format": 1, "state": "running"}


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderError, match=r"thesis\.txt"), RunFolder(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("kind", ["a file", "under a file"])
def test_a_path_that_cannot_be_a_folder(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "x" if kind == "under a file" else tmp_path / "file"
    with pytest.raises(HostError, match="cannot be used"), RunFolder(path):
        pass


def test_the_lock_ends_with_its_process_however_it_ends(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from harness_llm.results.folder import RunFolder
with RunFolder(Path(sys.argv[1])) as folder:
    folder.record(state="running")
    print("held", flush=True)
    time.sleep(60)
"""
    path = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(FolderError, match="another run"), RunFolder(path):
            pass
        child.send_signal(signal.SIGKILL)
    with RunFolder(path) as folder:
        assert folder.state() == {"format": 1, "state": "running"}


def test_record_adds_and_replaces_keys(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.record(a=1, b=2)
        folder.record(b=3, path=tmp_path)
        assert folder.state() == {"format": 1, "a": 1, "b": 3, "path": str(tmp_path)}


def test_a_test_goes_from_running_to_complete(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        test = folder.test("Offline/performance")
        assert not test.is_complete
        test.begin(scenario="Offline")
        assert not test.is_complete
        test.record(state="complete")
        assert test.is_complete
        record = read_json(test.path / "test.json")
        assert (record["format"], record["scenario"]) == (1, "Offline")
        assert record["started_utc"] <= utc_now()


def test_what_an_interrupted_test_left_is_kept_under_a_new_number(tmp_path: Path) -> None:
    test = RunFolder(tmp_path).test("Server/accuracy")
    for number in range(3):
        test.begin()
        (test.path / "events.npy").write_text(f"measured {number}")
    kept = {path.name: (path / "events.npy").read_text() for path in (tmp_path / "Server").iterdir()}
    assert kept == {
        "accuracy": "measured 2",
        "accuracy.broken-1": "measured 0",
        "accuracy.broken-2": "measured 1",
    }


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"n": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(HostError, match=r"x\.json: cannot be written: .*No space"):
            write_json(path, {"n": 2})
    assert read_json(path) == {"n": 1}
    write_json(path, {"n": 3})
    assert read_json(path) == {"n": 3}
    assert path.stat().st_mode & 0o777 == 0o644
    assert json.loads(path.read_text()) == {"n": 3}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\x00"])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with RunFolder(tmp_path) as folder, pytest.raises(FolderError, match=r"run\.json"):
        folder.state()


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"none\.json"):
        read_json(tmp_path / "none.json")
