"""live.jsonl: written once a second by the supervisor, read while it grows, after its end, or cut."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from harness_llm.errors import FolderError
from harness_llm.files import open_regular
from harness_llm.results.live_records import LIVE_VERSION, LiveRecord
from harness_llm.results.paths import LIVE_JSONL

_log = logging.getLogger(__name__)
_decoder = msgspec.json.Decoder(LiveRecord)
_PIECE_BYTES = 16 << 20


class LiveFile:
    """Appends records to a run folder's live.jsonl; a disk that says no ends the file, never the run.

    Args:
        run: The run folder.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / LIVE_JSONL
        self._descriptor: int | None = None
        self._is_given_up = False

    def take(self, record: LiveRecord) -> None:
        """Append a record; the first one opens the file."""
        if self._is_given_up:
            return
        line = msgspec.json.encode(record) + b"\n"
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            _log.warning("%s: nothing more is written: %s", self._path, error)
            self._is_given_up = True
            self.close()

    def _open(self) -> int:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # of a command that was killed
            os.write(descriptor, b"\n")
        return descriptor

    def close(self) -> None:
        """Nothing more comes."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class LiveReader:
    """Reads a live.jsonl on from where it was left.

    Args:
        run: The run folder.

    Attributes:
        damaged: Lines that were no records.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / LIVE_JSONL
        self._offset = 0
        self.damaged = 0

    def new(self) -> list[LiveRecord]:
        """The records that were added; a line that has no end yet waits for the next call.

        Raises:
            FolderError: The file is not there, cannot be read, or is of a newer version.
        """
        found: list[LiveRecord] = []
        try:
            with open_regular(self._path) as file:
                file.seek(self._offset)
                while piece := file.readlines(_PIECE_BYTES):
                    whole = piece if piece[-1].endswith(b"\n") else piece[:-1]
                    self._offset += sum(map(len, whole))
                    found += filter(None, map(self._record, whole))
        except OSError as error:
            raise FolderError(
                f"{self._path}: {error.strerror or error}",
                "`run` writes it; a run of an earlier version has none, see `harness-llm show`.",
            ) from error
        return found

    def _record(self, line: bytes) -> LiveRecord | None:
        try:
            record = _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.damaged += bool(line.strip())
            return None
        if record.version > LIVE_VERSION:
            raise FolderError(
                f"{self._path}: version {record.version} is of a newer version of this harness; this one "
                f"reads up to {LIVE_VERSION}",
                "Read it with the version that wrote it.",
            )
        return record


def read_live(run: Path) -> list[LiveRecord]:
    """All records of a run so far; none where there is no live.jsonl.

    Raises:
        FolderError: It cannot be read.
    """
    return LiveReader(run).new() if (run / LIVE_JSONL).exists() else []
