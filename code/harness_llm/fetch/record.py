"""The record of a downloaded folder: what is in it, where that came from, whether it is complete."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_llm.fetch.digest import sha256
from harness_llm.fetch.disk import disk_errors, share_files

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["RECORD_NAME", "begin_record", "is_fetched", "read_record", "write_record"]

RECORD_NAME = "fetched.json"
_FORMAT = 1
_COMPLETE, _STARTED = "complete", "started"  # a record without a state is complete

_logger = logging.getLogger(__name__)


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
                "sha256": (known or {}).get(name) or sha256(path),
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
        record = json.loads((folder / RECORD_NAME).read_text())
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
    if sha256(path) != entry["sha256"]:
        _logger.warning("%s has changed since it was fetched", path)
        return False
    return True
