from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness_llm.errors import FolderError, HostError
from harness_llm.files import file_digest, is_locked, locked, write_atomically


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, "1\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(HostError, match=r"x\.json: cannot be written: .*No space") as caught:
            write_atomically(path, "2\n")
    assert caught.value.remedy
    assert path.read_text() == "1\n"
    assert [left.name for left in tmp_path.iterdir()] == ["x.json"], "no half file stays"
    write_atomically(path, b"3\xff")
    assert path.read_bytes() == b"3\xff"


@pytest.mark.parametrize(("before", "after"), [(None, 0o644), (0o600, 0o600), (0o664, 0o664)])
def test_permissions_stay_and_those_of_a_new_file_are_usual(
    tmp_path: Path, before: int | None, after: int
) -> None:
    path = tmp_path / "x"
    if before is not None:
        path.touch()
        path.chmod(before)
    umask = os.umask(0o022)
    try:
        write_atomically(path, "é")
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == after
    assert path.read_text(encoding="utf-8") == "é"


def test_a_folder_that_is_missing_is_an_error_of_the_host(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot be written"):
        write_atomically(tmp_path / "none" / "x", "")


def _refuse() -> None:
    raise FolderError("busy")


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_one_holds_it_and_others_are_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path if kind == "folder" else tmp_path / "lock"
    assert not is_locked(path)
    with locked(path, _refuse):
        assert is_locked(path)
        with pytest.raises(FolderError, match="busy"), locked(path, _refuse):
            pass
        assert is_locked(path), "who was refused took nothing away"
    assert not is_locked(path)
    with locked(path, _refuse):
        pass


def test_who_may_wait_waits(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path, lambda: order.append("told")):
            order.append("second")

    with locked(tmp_path, _refuse):
        thread = threading.Thread(target=second)
        thread.start()
        while not order:
            pass
        order.append("first")
    thread.join(10)
    assert order == ["told", "first", "second"]


def test_the_lock_ends_with_its_process_however_it_ends(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from harness_llm.files import locked
with locked(Path(sys.argv[1]), lambda: None):
    print("held", flush=True)
    time.sleep(60)
"""
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        assert is_locked(path)
        child.send_signal(signal.SIGKILL)
    assert not is_locked(path)


def test_asking_makes_no_file(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []


def test_digests_are_those_of_hashlib_and_of_git(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"hello\n" * 300_000)
    data = path.read_bytes()
    assert file_digest(path) == hashlib.sha256(data).hexdigest()
    assert file_digest(path, "md5") == hashlib.md5(data, usedforsecurity=False).hexdigest()
    path.write_bytes(b"hello\n")
    assert (
        file_digest(path, "sha1", b"blob 6\0") == "ce013625030ba8dba906f756967f9e9ca394464a"
    )  # git hash-object
