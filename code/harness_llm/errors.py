"""Every error that this package raises on purpose.

::

    HarnessError
    ├── UsageError            exit 2: what the user gave cannot work; nothing was started
    │   ├── ConfigError       a YAML key, a --set override, a user.conf line, an environment variable
    │   ├── DatasetError      a data set file or one of its samples
    │   ├── ModelError        a checkpoint folder, or a model that cannot serve the data set
    │   └── FolderError       a run or submission folder that is in use, finished or not ours
    └── RunBroken             exit 3: a run was started and cannot give a result
        ├── HostError         disk, port, memory, permission: the machine said no
        ├── EngineError       the engine refused its arguments, failed to load, or failed a sample
        ├── ReplicaLost       a replica process died or fell silent
        ├── LoadgenLost       the loadgen process died or fell silent
        └── ProtocolError     a message was lost, doubled, malformed or of another version

An INVALID result or a failed check is data, never an exception (exit 1).
"""

from __future__ import annotations

import errno
import os
import zlib
from tokenize import TokenError
from zipfile import BadZipFile


class HarnessError(Exception):
    """An error with a remedy.

    Args:
        message: What is wrong, naming the file, the key and the value found.
        remedy: What the user can do about it, as an imperative sentence; empty if the message says it.
    """

    exit_code = 3

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  remedy: {self.remedy}" if self.remedy else self.message


class UsageError(HarnessError):
    """What the user gave cannot work; nothing was started."""

    exit_code = 2


class ConfigError(UsageError):
    """A YAML key, a --set override, a user.conf line or an environment variable is wrong."""


class DatasetError(UsageError):
    """A data set file, or one of its samples, cannot be used."""


class ModelError(UsageError):
    """A checkpoint folder is missing or incomplete, or the model cannot serve the data set."""


class FolderError(UsageError):
    """A run or submission folder is in use, already finished, or not one of ours."""


class RunBroken(HarnessError):  # noqa: N818 - a run that broke, whatever the error
    """A run was started and cannot give a result; what it measured so far stays on disk."""

    exit_code = 3


class HostError(RunBroken):
    """The machine said no: disk, port, memory or permission."""


_HOST_SAID = {
    errno.ENAMETOOLONG: "Give a shorter path.",
    errno.EACCES: "Give a path that this user may use.",
    errno.EMFILE: "Raise the limit of open files, e.g. `ulimit -n 4096`.",
    errno.ENFILE: "The host has too many files open: end what needs them.",
    errno.ENOSPC: "Free space on that disk.",
    errno.EFBIG: "Raise the limit of a file's size, e.g. `ulimit -f unlimited`.",
    errno.EDQUOT: "Free space: this user's quota is used up.",
    errno.EROFS: "Choose a folder on a disk that can be written.",
    errno.EIO: "The disk fails; see dmesg.",
    errno.ESTALE: "Mount that file system again.",
    errno.EAGAIN: "Raise the limit of processes, e.g. `ulimit -u 4096`.",
    errno.ENOMEM: "Free memory, or raise the limit that this process has (ulimit -v, a container's).",
}


def told_by_host(error: OSError | MemoryError) -> HarnessError | None:
    """One of our errors for one that the operating system gave where it was not expected.

    Args:
        error: What was raised.

    Returns:
        None where it speaks neither of a file nor of a limit, and so is a mistake in this package.
    """
    code = errno.ENOMEM if isinstance(error, MemoryError) else error.errno
    path = None if isinstance(error, MemoryError) else error.filename
    if path is None and code not in _HOST_SAID:
        return None
    said = os.strerror(code) if code else str(error)
    return _of_host(f"{path}: {said}" if path is not None else said, code, "")


def refused_by_host(what: str, error: OSError, remedy: str) -> HarnessError:
    """Our error for one of the operating system, with the remedy for its kind.

    Args:
        what: What was tried, and on what; its reason is added.
        error: What was raised.
        remedy: What to do where its number alone does not say.
    """
    return _of_host(f"{what}: {error.strerror or error}", error.errno, remedy)


def named(error: BaseException) -> str:
    """An exception as part of a message: its type, and its text if it has any."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _of_host(message: str, code: int | None, otherwise: str) -> HarnessError:
    kind = UsageError if code == errno.ENAMETOOLONG else HostError
    return kind(message, _HOST_SAID.get(code or 0, otherwise))


class EngineError(RunBroken):
    """The engine refused its arguments, failed to load, or failed a sample."""


class ReplicaLost(RunBroken):
    """A replica process died or fell silent."""


class LoadgenLost(RunBroken):
    """The loadgen process died or fell silent."""


class ProtocolError(RunBroken):
    """A message was lost, doubled, malformed, or of another protocol version."""


BROKEN_INPUT = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    AssertionError,
    EOFError,
    SyntaxError,  # numpy reads the header of an array as Python source
    TokenError,
    BadZipFile,
    zlib.error,
)
"""What numpy, zipfile, json and our own readers may raise over a file whose content is damaged."""
