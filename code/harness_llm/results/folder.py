"""The run folder: everything that a run leaves, written so that an interruption loses nothing."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness_llm.errors import FolderError, HostError

if TYPE_CHECKING:
    from io import TextIOWrapper

__all__ = ["RunFolder", "TestFolder", "is_in_use", "read_json", "utc_now", "write_json"]

_FORMAT = 1


def utc_now() -> str:
    """The time, UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace a JSON file in one step, so that a reader sees the old one or the new one.

    Raises:
        HostError: The disk said no.
    """
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            json.dump(document, file, indent=2, default=str)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise HostError(
            f"{path}: cannot be written: {error}", "Free disk space or choose another folder."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run folder.

    Raises:
        FolderError: It is missing or no JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FolderError(f"{path}: cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise FolderError(f"{path}: expected a JSON object, found {type(document).__name__}")
    return document


def is_in_use(path: Path) -> bool:
    """Whether a run holds this folder now."""
    try:
        with (path / ".lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


class RunFolder:
    """One run's folder, held by one process at a time.

    Args:
        path: The folder; made if it is not there.

    Raises:
        FolderError: Another process holds it, or it holds something that is no run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: TextIOWrapper | None = None

    def __enter__(self) -> Self:
        path = self.path
        try:
            path.mkdir(parents=True, exist_ok=True)
            strangers = [entry.name for entry in path.iterdir() if entry.name != ".lock"]
            if strangers and not (path / "run.json").exists():
                raise FolderError(
                    f"{path}: not empty and no run folder (holds {strangers[0]!r})",
                    "Choose a new folder with --output.",
                )
            self._lock = (path / ".lock").open("w")
        except OSError as error:
            raise HostError(
                f"{path}: cannot be used: {error}", "Choose a folder that you may write to."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise FolderError(
                f"{path}: another run is using this folder",
                "Wait for it, or choose a new folder with --output.",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()

    @property
    def run_json(self) -> Path:
        """The file that says what ran and how far it came."""
        return self.path / "run.json"

    def state(self) -> dict[str, Any] | None:
        """run.json of an earlier run in this folder, or None in a new one."""
        return read_json(self.run_json) if self.run_json.exists() else None

    def record(self, **changes: Any) -> None:
        """Add to run.json."""
        write_json(self.run_json, {"format": _FORMAT, **(self.state() or {}), **changes})

    def test(self, name: str) -> TestFolder:
        """The folder of one test, e.g. `Offline/performance`."""
        return TestFolder(self.path / name)


class TestFolder:
    """One test's folder."""

    __test__ = False  # no pytest class

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def is_complete(self) -> bool:
        """Whether LoadGen ended by itself here."""
        record = self.path / "test.json"
        return record.exists() and read_json(record).get("state") == "complete"

    @property
    def is_followed_up(self) -> bool:
        """Whether what follows a test (scoring, verification) was done, too."""
        return self.is_complete and bool(read_json(self.path / "test.json").get("followed_up"))

    def begin(self, **facts: Any) -> None:
        """Make the folder; what an interrupted test left is kept beside it."""
        if self.path.exists():
            number = 1
            while (aside := self.path.with_name(f"{self.path.name}.broken-{number}")).exists():
                number += 1
            self.path.rename(aside)
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            raise HostError(f"{self.path}: cannot be made: {error}") from error
        self.record(state="running", started_utc=utc_now(), **facts)

    def record(self, **changes: Any) -> None:
        """Add to test.json."""
        path = self.path / "test.json"
        known = read_json(path) if path.exists() else {"format": _FORMAT}
        write_json(path, {**known, **changes})
