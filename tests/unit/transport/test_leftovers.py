"""Nothing of a killed group stays: processes, shared memory; folders of dead runs go with the next."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness_llm.files import locked
from harness_llm.transport import leftovers
from harness_llm.transport.leftovers import (
    clear_abandoned,
    kill_group,
    members,
    note_segments,
    segments,
    socket_folder,
)

_GROUP = """
import multiprocessing, sys, time
from multiprocessing.shared_memory import SharedMemory

def hold(name):
    other = SharedMemory(name)
    print("held", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    memory = SharedMemory(create=True, size=4096)
    spawning = multiprocessing.get_context("spawn")
    lock = spawning.Lock()
    child = spawning.Process(target=hold, args=(memory.name,))
    child.start()
    print(memory.name, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def group(tmp_path: Path) -> subprocess.Popen[str]:
    """A process with a child, shared memory and a named semaphore, in a group of its own, as an engine is."""
    (tmp_path / "holds.py").write_text(_GROUP)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "holds.py")],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert {process.stdout.readline().strip()[:4], process.stdout.readline().strip()[:4]} == {"psm_", "held"}
    return process


def _kinds(paths: set[Path]) -> set[str]:
    return {re.split(r"[_-]", path.name)[0] for path in paths}


def _wait_for(condition: object, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("tracker", ["there", "killed"])
def test_a_group_that_is_killed_leaves_no_process_and_no_shared_memory(
    group: subprocess.Popen[str], tracker: str
) -> None:
    held = segments(members(group.pid))
    assert _kinds(held) == {"psm", "sem.mp"}, "shared memory and a named semaphore"
    if tracker == "killed":
        trackers = [process for process in members(group.pid) if leftovers._is_tracker(process)]
        assert trackers
        os.kill(trackers[0], signal.SIGKILL)
    kill_group(group.pid)
    group.communicate(timeout=5)
    assert members(group.pid) == []
    assert not any(path.exists() for path in held)


def test_shared_memory_that_another_group_has_too_stays(group: subprocess.Popen[str], tmp_path: Path) -> None:
    shared = Path(f"/dev/shm/harness-llm-test-{os.getpid()}")
    shared.write_bytes(b"x" * 4096)
    code = (
        "import mmap, sys, time; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0);"
        "print(flush=True); time.sleep(60)"
    )
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(shared)], stdout=subprocess.PIPE, start_new_session=True
        )
        for _ in range(2)
    ]
    try:
        for holder in holders:
            assert holder.stdout is not None and holder.stdout.readline()
        kill_group(holders[0].pid)
        assert shared.exists()
        kill_group(holders[1].pid)
        assert not shared.exists()
    finally:
        shared.unlink(missing_ok=True)
        kill_group(group.pid)
        for process in (*holders, group):
            process.wait(5)
            process.stdout.close()  # type: ignore[union-attr]


def _dead_folder(place: Path) -> Path:
    folder = place / "harness-llm-dead"
    folder.mkdir()
    (folder / "owner").touch()
    os.utime(folder / "owner", (0, 0))
    return folder


def test_folders_of_dead_runs_go_with_what_they_note_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    dead = _dead_folder(tmp_path)
    segment = Path(f"/dev/shm/psm_harness_{os.getpid()}")
    segment.write_bytes(b"x")
    precious = tmp_path / "precious"
    precious.write_text("x")
    (dead / "segments").write_text(f"{segment}\n{precious}\n/dev/shm/../../{precious}\n")
    young = tmp_path / "harness-llm-young"
    young.mkdir()
    (young / "owner").touch()
    strange = tmp_path / "harness-llm-strange"
    strange.mkdir()
    held = tmp_path / "harness-llm-held"
    held.mkdir()
    with locked(held / "owner", lambda: None):
        os.utime(held / "owner", (0, 0))
        clear_abandoned(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "harness-llm-held", "harness-llm-strange", "harness-llm-young", "precious"
        ]  # fmt: skip
    assert not segment.exists()


def test_what_a_group_holds_is_noted_for_a_later_run(group: subprocess.Popen[str], tmp_path: Path) -> None:
    dead = _dead_folder(tmp_path)
    held = segments(members(group.pid))
    assert _kinds(held) == {"psm", "sem.mp"}
    note_segments(dead, group.pid)
    clear_abandoned(tmp_path)
    assert all(path.exists() for path in held), "somebody has it still"
    dead = _dead_folder(tmp_path)
    note_segments(dead, group.pid)
    os.killpg(group.pid, signal.SIGKILL)  # with its tracker
    group.communicate(timeout=5)
    assert any(path.exists() for path in held)
    clear_abandoned(tmp_path)
    assert not dead.exists() and not any(path.exists() for path in held)


def test_a_socket_folder_is_held_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers.tempfile, "tempdir", str(tmp_path))
    with socket_folder() as folder:
        os.utime(folder / "owner", (0, 0))
        clear_abandoned(tmp_path)
        assert folder.is_dir() and folder.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []
