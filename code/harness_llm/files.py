"""Files on disk: written whole or not at all, held by one process, named by a digest."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor

from harness_llm.errors import HostError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace a file in one step, so that a reader sees the old one or the new one, also after a power cut.

    A new file gets the permissions of any new file; one that is replaced keeps its own.

    Args:
        path: The file; its folder exists.
        content: All of it; text is written in UTF-8.

    Raises:
        HostError: The disk said no; the file is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise HostError(
            f"{path}: cannot be written: {error}", "Free disk space or choose another folder."
        ) from error


@contextmanager
def locked(path: Path, busy: Callable[[], object]) -> Iterator[None]:
    """Hold a file or folder against other processes; the lock ends with its process, however that ends.

    Args:
        path: A folder, which is locked itself, or a file, made if it is missing and left behind.
        busy: Called if another process holds it: raises what the user shall read, or returns, and then the
            lock is waited for.

    Raises:
        HostError: It cannot be opened.
    """
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        raise HostError(
            f"{path}: cannot be used: {error}", "Choose a folder that you may write to."
        ) from error
    try:
        if not lock_descriptor(descriptor, blocking=False):
            busy()
            lock_descriptor(descriptor)
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process holds this file or folder by `locked`; False where it is missing."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return not lock_descriptor(descriptor, blocking=False)
    except OSError:  # a file system that locks only what is open for writing
        return True
    finally:
        os.close(descriptor)


def file_digest(path: Path, algorithm: str = "sha256", prefix: bytes = b"") -> str:
    """Digest of a file, lower-case hexadecimal.

    Args:
        path: The file.
        algorithm: A name that hashlib knows.
        prefix: Bytes to count before those of the file, such as git's header of a blob.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        state = hashlib.file_digest(file, lambda: hashlib.new(algorithm, prefix, usedforsecurity=False))
    return state.hexdigest()
