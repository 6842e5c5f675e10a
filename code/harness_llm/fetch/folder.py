"""Folders that are complete or absent: one writer at a time, a record of what is in, a rename at the end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_llm.errors import FolderError, HostError
from harness_llm.fetch.digest import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "RECORD_NAME",
    "disk_errors",
    "exclusive",
    "is_fetched",
    "new_folder",
    "require_space",
    "share_files",
    "write_record",
]

RECORD_NAME = "fetched.json"
_FORMAT = 1

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder, made if it is missing, against other downloads; waits for the one that has it.

    Raises:
        HostError: The folder cannot be made or read.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _logger.info("another download works in %s; waiting for it", folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """Fill a folder beside `destination`, which takes its place in one rename once the body ends well.

    The caller holds the parent (`exclusive`). What an interrupted body left is removed by the next call.

    Raises:
        FolderError: `destination` exists and has no record, so somebody else made it.
    """
    if destination.exists() and not (destination / RECORD_NAME).is_file():
        raise FolderError(
            f"{destination} exists and was not made by this command", "Move it away, or name another place."
        )
    partial = destination.with_name(f".{destination.name}.partial")
    replaced = destination.with_name(f".{destination.name}.replaced")
    for leftover in (partial, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    with disk_errors(destination):
        partial.mkdir()
        yield partial
        if destination.exists():
            destination.rename(replaced)
        partial.rename(destination)
    shutil.rmtree(replaced, ignore_errors=True)


def write_record(
    folder: Path,
    source: Mapping[str, Any],
    *,
    known: Mapping[str, str] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Record every file of a folder, with size and SHA-256, and where it came from; then share the files.

    Args:
        folder: The complete folder. Hidden files and folders are left out.
        source: What identifies the content; `is_fetched` compares it as a whole.
        known: SHA-256 of files, by path in the folder, where it is known already.
        notes: Kept in the record beside the source, never compared.
    """
    entries = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (
            path.is_file()
            and name != RECORD_NAME
            and not any(part.startswith(".") for part in Path(name).parts)
        ):
            status = path.stat()
            entries[name] = {
                "size": status.st_size,
                "mtime_ns": status.st_mtime_ns,
                "sha256": (known or {}).get(name) or sha256(path),
            }
    record = {"format": _FORMAT, "source": dict(source), "notes": dict(notes or {}), "files": entries}
    text = json.dumps(record, indent=1) + "\n"
    temporary = folder / f".{RECORD_NAME}.new"
    with disk_errors(folder):
        temporary.write_text(text)
        share_files(folder, like=temporary)
        temporary.replace(folder / RECORD_NAME)


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


def is_fetched(folder: Path, source: Mapping[str, Any], *, rehash: bool = False) -> bool:
    """Whether a folder holds exactly what was recorded from that source.

    A file whose size and time of change are as recorded is trusted, any other of the right size is hashed.

    Args:
        folder: The folder in question; may be missing.
        source: As given to `write_record`.
        rehash: Hash every file, whatever its time says.
    """
    try:
        record = json.loads((folder / RECORD_NAME).read_text())
        if record["format"] != _FORMAT or record["source"] != dict(source):
            return False
        return all(_is_unchanged(folder / name, entry, rehash) for name, entry in record["files"].items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_unchanged(path: Path, entry: Mapping[str, Any], rehash: bool) -> bool:
    status = path.stat()
    if status.st_size != entry["size"]:
        _logger.warning("%s has %d bytes, recorded were %d", path, status.st_size, entry["size"])
        return False
    if status.st_mtime_ns == entry["mtime_ns"] and not rehash:
        return True
    if sha256(path) != entry["sha256"]:
        _logger.warning("%s has changed since it was fetched", path)
        return False
    return True


def require_space(folder: Path, needed: int) -> None:
    """Refuse to start what cannot fit.

    Args:
        folder: Where it would be written; the nearest existing parent counts.
        needed: Bytes still to be written.

    Raises:
        HostError: Less is free.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise HostError(
            f"{folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free on that disk",
            "Free some space, or set LAB_MODEL or LAB_DATASET to a folder on another disk.",
        )


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
                "Free some space and run the same command again; it goes on from here.",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise HostError(
                f"{error.filename or path}: may not be written",
                "Make it writable, or set LAB_MODEL or LAB_DATASET to a folder that is.",
            ) from error
        raise
