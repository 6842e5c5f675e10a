"""What a running test depends on: its folder still exists, and its disk still accepts writes."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

from harness_llm.errors import HostError

_LOOK_S = 2.0
_PROBE = bytes(64 << 10)
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Ground:
    """Looks every two seconds whether a folder is still there and can still be written.

    LoadGen would not notice before its test is over, and then its records are lost.

    Args:
        folder: It is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._identity = self._seen()
        self._looked_s = 0.0

    def _seen(self) -> tuple[int, int] | None:
        try:
            status = self._folder.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def check(self, now_s: float) -> None:
        """Look, if it is time for it.

        Args:
            now_s: Seconds of any clock.

        Raises:
            HostError: The folder is gone or another one, or the disk is full or takes nothing.
        """
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        try:
            if self._seen() != self._identity:
                raise HostError(
                    f"{self._folder}: was deleted, renamed or replaced while the test ran",
                    "Run it again, and leave the folder alone meanwhile.",
                )
            with tempfile.TemporaryFile(dir=self._folder) as probe:
                probe.write(_PROBE)
                probe.flush()
        except OSError as error:
            if error.errno in _FULL:
                raise HostError(
                    f"{self._folder}: the disk is full: {error.strerror}",
                    "Free disk space, then continue with --resume.",
                ) from error
            raise HostError(
                f"{self._folder}: cannot be written any more: {error}", "Check the disk."
            ) from error
