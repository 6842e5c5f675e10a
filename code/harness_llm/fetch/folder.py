"""Folders that are complete or absent: one writer at a time, a rename at the end, a record of the files."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness_llm.errors import FolderError
from harness_llm.fetch.disk import disk_errors, share_files
from harness_llm.files import file_digest, locked, read_text

RECORD_NAME = "fetched.json"
_FORMAT = 1
_COMPLETE, _STARTED = "complete", "started"  # a record without a state is complete

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder, made if it is missing, against other downloads; waits for the one that has it.

    Raises:
        FolderError: There can be no folder, because its path leads through a file or to one.
        HostError: The folder may not be made or read.
    """
    make_folder(folder)
    with locked(folder, lambda: _logger.info("another download works in %s; waiting for it", folder)):
        yield


def make_folder(folder: Path) -> None:
    """Make a folder, and those it lies in, where they are missing.

    Raises:
        FolderError: There can be no folder, because its path leads through a file or to one.
        HostError: It may not be made.
    """
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise FolderError(
            f"{folder} cannot be made: {error.filename}: {error.strerror}",
            "Set LAB_MODEL or LAB_DATASET to a folder.",
        ) from error


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
    only: Collection[str] | None = None,
) -> None:
    """Record the files of a folder, with size and SHA-256, and where it came from; then share the files.

    Args:
        folder: The complete folder. Hidden files and folders are left out.
        source: What identifies the content; `is_fetched` compares it as a whole.
        known: SHA-256 of files, by path in the folder, where it is known already.
        notes: Kept in the record beside the source, never compared.
        only: Paths in the folder of the files to record; None records all. Others may have put more there,
            as a quantization does.
    """
    entries = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (
            path.is_file()
            and name != RECORD_NAME
            and not any(part.startswith(".") for part in Path(name).parts)
            and (only is None or name in only)
        ):
            status = path.stat()
            entries[name] = {
                "size": status.st_size,
                "mtime_ns": status.st_mtime_ns,
                "sha256": (known or {}).get(name) or file_digest(path),
            }
    record = {"source": dict(source), "notes": dict(notes or {}), "files": entries}
    with disk_errors(folder):
        temporary = _write_record(folder, _COMPLETE, record)
        share_files(folder, like=temporary)
        temporary.replace(folder / RECORD_NAME)


def begin_record(folder: Path, source: Mapping[str, Any], expected: Collection[str]) -> None:
    """Record what is about to fill a folder, so that an interrupted download is known by its owner.

    Args:
        folder: The folder; `write_record` ends what begins here, and `is_fetched` is false until then.
        source: As given to `write_record`.
        expected: Paths in the folder of the files that will come.
    """
    with disk_errors(folder):
        record = {"source": dict(source), "notes": {}, "files": dict.fromkeys(sorted(expected), {})}
        _write_record(folder, _STARTED, record).replace(folder / RECORD_NAME)


def is_fetched(folder: Path, source: Mapping[str, Any], *, rehash: bool = False) -> bool:
    """Whether a folder holds exactly what was recorded from that source.

    A file whose size and time of change are as recorded is trusted, any other of the right size is hashed.

    Args:
        folder: The folder in question; may be missing.
        source: As given to `write_record`.
        rehash: Hash every file, whatever its time says.
    """
    record = read_record(folder)
    try:
        if record is None or record["source"] != dict(source):
            return False
        if record.get("state", _COMPLETE) != _COMPLETE:
            return False
        return all(_is_unchanged(folder / name, entry, rehash) for name, entry in record["files"].items())
    except (OSError, KeyError, TypeError):
        return False


def read_record(folder: Path) -> dict[str, Any] | None:
    """What was written last: `state`, `source`, `notes`, `files`; None where there is none of this format."""
    try:
        record = json.loads(read_text(folder / RECORD_NAME))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        return None
    return record if all(isinstance(record.get(part), dict) for part in ("source", "files")) else None


def _write_record(folder: Path, state: str, record: Mapping[str, Any]) -> Path:
    temporary = folder / f".{RECORD_NAME}.new"
    temporary.write_text(json.dumps({"format": _FORMAT, "state": state, **record}, indent=1) + "\n")
    return temporary


def _is_unchanged(path: Path, entry: Mapping[str, Any], rehash: bool) -> bool:
    status = path.stat()
    if status.st_size != entry["size"]:
        _logger.warning("%s has %d bytes, recorded were %d", path, status.st_size, entry["size"])
        return False
    if status.st_mtime_ns == entry["mtime_ns"] and not rehash:
        return True
    if file_digest(path) != entry["sha256"]:
        _logger.warning("%s has changed since it was fetched", path)
        return False
    return True
