"""Files on disk: written whole or not at all, held by one process, named by a digest."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from filelock import lock_descriptor

from harness_llm.errors import HostError, refused_by_host

_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)  # which nobody holds
LARGEST_TEXT = 64 << 20
"""No text that a user writes or a checkpoint describes itself by is larger, bytes."""


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
        raise refused_by_host(f"{path}: cannot be written", error, "Choose another folder.") from error


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
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would be waited for
    except OSError as error:
        return error.errno not in _NO_FILE
    try:
        return not lock_descriptor(descriptor, blocking=False)
    except OSError:  # a file system that locks only what is open for writing
        return True
    finally:
        os.close(descriptor)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file that a user names, for reading. Anything else is refused instead of waited for.

    Raises:
        OSError: It is missing, cannot be read, or is a FIFO, a device, a socket or a folder.
    """
    _require_regular(path.stat())  # before it is opened, for to open a device may do something
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_regular(os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most_bytes: int = LARGEST_TEXT) -> bytes:
    """A file that a user names, whole.

    Args:
        path: The file.
        most_bytes: A larger one is none of its kind and is not read.

    Raises:
        OSError: As of `open_regular`, or it is larger.
    """
    with open_regular(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes")
    return content


def read_text(path: Path, most_bytes: int = LARGEST_TEXT) -> str:
    """As `read_regular`, of a text in UTF-8; its line ends stay as they are.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is not UTF-8.
    """
    return read_regular(path, most_bytes).decode("utf-8")


def _require_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, f"is {_kind_of(status.st_mode)}, not a regular file")


def _kind_of(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def file_digest(path: Path, algorithm: str = "sha256", prefix: bytes = b"") -> str:
    """Digest of a file, lower-case hexadecimal.

    Args:
        path: The file.
        algorithm: A name that hashlib knows.
        prefix: Bytes to count before those of the file, such as git's header of a blob.

    Raises:
        OSError: It cannot be read.
    """
    with open_regular(path) as file:
        state = hashlib.file_digest(file, lambda: hashlib.new(algorithm, prefix, usedforsecurity=False))
    return state.hexdigest()
