"""What processes leave on a host beside files: shared memory, and Unix sockets in a temporary folder."""

from __future__ import annotations

import stat
import time
from pathlib import Path

from harness_llm.transport.leftovers import own_processes, own_segments, segments


class Host:
    """What is there before something runs.

    Args:
        temporary: The temporary folder of what runs.
    """

    def __init__(self, temporary: Path) -> None:
        self._temporary = temporary
        self._before = self._there()

    def left(self, seconds: float = 3) -> list[str]:
        """What has been left since, after a moment; what a living process holds is another's."""
        deadline = time.monotonic() + seconds
        while found := self._there() - self._before:
            found -= segments(own_processes())
            found -= _bound()
            if not found or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return sorted(str(path) for path in found)

    def _there(self) -> set[Path]:
        sockets = {path for path in self._temporary.iterdir() if _is_socket(path)}
        return own_segments() | sockets


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def _bound() -> set[Path]:
    """Unix sockets that a process holds."""
    lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()
    return {Path(fields[7]) for line in lines if len(fields := line.split(maxsplit=7)) == 8}
