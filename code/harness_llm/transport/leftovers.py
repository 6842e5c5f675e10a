"""What killed processes leave on a host, and how it goes: shared memory, folders of sockets.

Python's resource tracker, one in each tree of processes, removes the shared memory of the others when they
are gone. So a group is killed without it first. What a tracker cannot do, for it was killed too, is known by
what the processes had mapped, and done by a later run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness_llm.files import is_locked, locked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SHARED = Path("/dev/shm")  # noqa: S108 - the kernel's own
_PREFIX = "harness-llm-"
_OWNER = "owner"
_SEGMENTS = "segments"
_YOUNG_S = 10.0  # a folder that is made right now is not held yet
_TRACKER_S = 2.0
_POLL_S = 0.02


def members(group: int) -> list[int]:
    """Processes of a process group."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group and fields[0] not in "ZX":
                    found.append(int(folder.name))
    return found


def segments(processes: Iterable[int]) -> set[Path]:
    """Files in shared memory that processes have mapped and that this user owns.

    They are known by their inodes: who makes a named semaphore maps it by a name that glibc has already
    given up, "/dev/shm/sem.2aGq1X (deleted)", and its file has another.
    """
    mapped: set[str] = set()
    for process in processes:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{process}/maps").read_text(errors="replace").splitlines()
            mapped.update(" ".join(line.split()[3:5]) for line in lines if f" {_SHARED}/" in line)
    return {path for path in own_segments() if _inode(path) in mapped} if mapped else set()


def own_segments() -> set[Path]:
    """Files in shared memory that this user owns."""
    try:
        return {path for path in _SHARED.iterdir() if _is_own(path)}
    except OSError:
        return set()


def own_processes() -> list[int]:
    """This user's processes, as far as they can be seen from here."""
    return [
        int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit() and _is_own(folder)
    ]


def kill_group(group: int) -> None:
    """End a process group with SIGKILL; its trackers of shared memory a moment later, when they are done.

    Of the caller's own group the caller goes last, before its trackers.
    """
    for _ in range(100):  # one that is killed may just have forked
        living = [
            process for process in members(group) if process != os.getpid() and not _is_tracker(process)
        ]
        is_own = group == os.getpgrp()
        left = segments([*living, os.getpid()] if is_own else living)
        if left:
            others = set(own_processes()) - set(living) - ({os.getpid()} if is_own else set())
            left -= segments(others)
        for process in living:
            _kill(process)
        _remove(left)
        if not living:
            break
        time.sleep(_POLL_S)
    if group == os.getpgrp():
        os.kill(os.getpid(), signal.SIGKILL)
    deadline = time.monotonic() + _TRACKER_S
    while time.monotonic() < deadline and members(group):
        time.sleep(_POLL_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, signal.SIGKILL)


def _is_tracker(process: int) -> bool:
    try:
        return b"multiprocessing.resource_tracker" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def _is_own(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.getuid()
    except OSError:
        return False


def _inode(path: Path) -> str:
    """Device and inode of a file, as /proc/<process>/maps writes them; empty where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return ""
    return f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x} {found.st_ino}"


def _remove(left: set[Path]) -> None:
    """Remove segments that nobody maps who lives on."""
    for path in left:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def socket_folder() -> Iterator[Path]:
    """A folder of this user's own for Unix sockets, gone at the end; what killed runs left goes first."""
    clear_abandoned(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        with locked(folder / _OWNER, lambda: None):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def note_segments(folder: Path, group: int) -> None:
    """Note in a socket folder what shared memory a group has, for a later run that finds the folder."""
    if found := segments(members(group)) - _noted(folder):
        with contextlib.suppress(OSError), (folder / _SEGMENTS).open("a") as file:
            file.writelines(f"{path}\n" for path in sorted(found))


def clear_abandoned(place: Path) -> None:
    """Remove the socket folders, and the shared memory noted in them, that nobody holds any more.

    A folder's lock ends with its process, however that ended; a process id would mean another process, or
    none, to whoever looks from another container.
    """
    for folder in place.glob(f"{_PREFIX}*"):
        owner = folder / _OWNER
        try:
            is_abandoned = (
                folder.lstat().st_uid == os.getuid()
                and time.time() - owner.lstat().st_mtime > _YOUNG_S
                and not is_locked(owner)
            )
        except OSError:
            continue
        if is_abandoned:
            _remove(_noted(folder) - segments(own_processes()))
            shutil.rmtree(folder, ignore_errors=True)


def _noted(folder: Path) -> set[Path]:
    try:
        lines = (folder / _SEGMENTS).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    return {path for path in map(Path, lines) if path.parent == _SHARED and _is_own(path)}
