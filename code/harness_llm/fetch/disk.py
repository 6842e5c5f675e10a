"""The disk that downloads fill: room on it, its errors, the permissions of what lies there."""

from __future__ import annotations

import contextlib
import errno
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from harness_llm.errors import HostError


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the disk's errors into ours.

    Raises:
        HostError: The disk is full or refuses to be written, with the path.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HostError(
                f"{path}: the disk is full",
                "Free some space and run the same command again; it continues from here.",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise HostError(
                f"{error.filename or path}: may not be written",
                "Make it writable, or set LAB_MODEL or LAB_DATASET to a folder that is.",
            ) from error
        raise


def require_space(
    folder: Path,
    needed: int,
    remedy: str = "Free some space, or set LAB_MODEL or LAB_DATASET to a folder on another disk.",
) -> None:
    """Refuse to start what cannot fit.

    Args:
        folder: Where it would be written; the nearest existing parent counts.
        needed: Bytes still to be written.
        remedy: What else can be done than to free some.

    Raises:
        HostError: Less is free.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise HostError(
            f"{folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free on that disk",
            remedy,
        )


def size_below(folder: Path) -> int:
    """Bytes of all files below a folder, in which another thread may work: what vanishes counts nothing."""
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size if path.is_file() else 0
    return size


def share_files(folder: Path, *, like: Path) -> None:
    """Give every file below a folder the permissions of `like`, a new file, which are what the umask allows.

    safetensors makes weight files readable by their owner alone; the user of a container is somebody else.

    Raises:
        PermissionError: A file belongs to another user and has other permissions.
    """
    mode = stat.S_IMODE(like.stat().st_mode)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)
