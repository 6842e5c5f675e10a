"""Shows that a transfer is alive: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

LINE_SECONDS = 10.0

_logger = logging.getLogger(__name__)


class Transfer:
    """Progress of one file; a context manager.

    Args:
        name: What is shown.
        total: Bytes in all; None where the server does not say.
        done: Bytes that were there before.
    """

    def __init__(self, name: str, total: int | None, done: int) -> None:
        self._name = name
        self._total = total
        self._done = done
        self._last_line = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console

            columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._bar = Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True))
            self._task = self._bar.add_task(self._name, total=self._total, completed=self._done)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int) -> None:
        """Note that `count` more bytes are on disk."""
        self._done += count
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
        elif time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            total = "" if self._total is None else f" of {self._total / 1e6:,.1f}"
            _logger.info("%s: %s%s MB", self._name, f"{self._done / 1e6:,.1f}", total)


class StillWorking:
    """Logs a line every few seconds while the body of a `with` statement runs.

    Args:
        line: Called in another thread, gives the line.
    """

    def __init__(self, line: Callable[[], str]) -> None:
        self._line = line
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="still-working", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LINE_SECONDS):
            _logger.info("%s", self._line())
