"""A folder that one process writes at a time, known by the record in it."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from harness_llm.errors import FolderError, refused_by_host
from harness_llm.files import is_locked, locked, write_atomically

_LOCK = ".lock"
_RESERVE, _RESERVE_BYTES = ".reserve", 64 << 10


def utc_now() -> str:
    """The time, UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_in_use(path: Path) -> bool:
    """Whether a process holds this folder now."""
    return is_locked(path / _LOCK)


def set_aside(path: Path) -> None:
    """Keep what lies there under the next free name, `….broken-<n>`."""
    if path.exists():
        number = 1
        while (aside := path.with_name(f"{path.name}.broken-{number}")).exists():
            number += 1
        path.rename(aside)


def keep_reserve(folder: Path) -> None:
    """Put space of a disk aside, so that a record can still say that the disk became full.

    Raises:
        HostError: The disk is full already.
    """
    write_atomically(folder / _RESERVE, bytes(_RESERVE_BYTES))


def spend_reserve(folder: Path) -> None:
    """Give that space back to the record that is written next; nothing where there is none."""
    with suppress(OSError):
        (folder / _RESERVE).unlink(missing_ok=True)


class HeldFolder:
    """A folder to hold in a `with` block; made if it is missing.

    Args:
        path: The folder.
        record: Name of the record that makes a folder one of these.
        noun: What it is, for people: `run`.

    Raises:
        FolderError: Another process holds it, it holds something else, or is no folder.
        HostError: It cannot be used.
    """

    def __init__(self, path: Path, record: str, noun: str) -> None:
        self.path = path
        self.record_path = path / record
        self._noun = noun
        self._held = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            strangers = [entry.name for entry in self.path.iterdir() if entry.name != _LOCK]
        except (FileExistsError, NotADirectoryError) as error:
            part = "part of its path" if isinstance(error, NotADirectoryError) else "it"
            raise FolderError(
                f"{self.path}: {part} already exists and is not a folder", "Choose another one with --output."
            ) from error
        except OSError as error:
            raise refused_by_host(
                f"{self.path}: cannot be used", error, "Choose a folder that you may write to."
            ) from error
        if strangers and not self.record_path.exists():
            raise FolderError(
                f"{self.path}: not empty and no {self._noun} folder (holds {strangers[0]!r})",
                "Choose a new folder with --output.",
            )
        self._held.enter_context(locked(self.path / _LOCK, self._refuse))
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _refuse(self) -> None:
        raise FolderError(
            f"{self.path}: another {self._noun} is using this folder",
            "Wait for it, or choose a new folder with --output.",
        )
