"""A replica that loads: minutes are its right, but not minutes in which it does nothing at all."""

from __future__ import annotations

import re

from harness_llm.launch.child import Child
from harness_llm.launch.launcher import Effort

SILENCE_S = 60.0
"""Least silence that is a loss while a replica loads, seconds: libraries hold the interpreter for long."""

IDLE_S = 120.0
"""A replica that does nothing for longer while it loads is lost, seconds."""

_DEAD_THREAD_IDLE_S = 6.0  # the same, where its log says that one of its threads has died
_LOOK_S = 2.0
_BUSY_CORES, _BUSY_BYTES_A_SECOND = 0.03, 100_000  # more is work; heartbeats and waiting loops are less
_DEAD_THREAD = re.compile(r"Exception in thread ")


class Loading:
    """Watches what one replica's processes do while it loads.

    Args:
        child: The replica.
        now_s: The listening clock's time, seconds.
    """

    def __init__(self, child: Child, now_s: float) -> None:
        self._child = child
        self._looked_s = self._worked_s = now_s
        self._effort = child.handle.effort()

    def problem(self, now_s: float) -> str:
        """What is wrong with it, as the predicate of a sentence; empty while it works or may wait."""
        if now_s - self._looked_s < _LOOK_S:
            return ""
        seconds, self._looked_s = now_s - self._looked_s, now_s
        before, self._effort = self._effort, self._child.handle.effort()
        if _works(before, self._effort, seconds):
            self._worked_s = now_s
        idle_s = now_s - self._worked_s
        if idle_s <= _DEAD_THREAD_IDLE_S:
            return ""
        has_died = _DEAD_THREAD.search(self._child.handle.log_text(self._child.log_from))
        if not has_died and idle_s <= IDLE_S:
            return ""
        died = "one of its threads has died, and " if has_died else ""
        stopped = ", ".join(self._child.handle.stopped())
        return f"does not load any more: {died}for {idle_s:.0f} s it has used no CPU and read nothing" + (
            f"; stopped by a signal: {stopped}" if stopped else ""
        )


def _works(before: Effort | None, now: Effort | None, seconds: float) -> bool:
    if before is None or now is None:
        return True
    cores = (now.cpu_s - before.cpu_s) / seconds
    rate = (now.io_bytes - before.io_bytes) / seconds
    # A process that has ended takes its part out of the sum.
    return abs(cores) > _BUSY_CORES or abs(rate) > _BUSY_BYTES_A_SECOND
