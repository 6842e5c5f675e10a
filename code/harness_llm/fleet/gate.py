"""The start gate: all loads are armed, start at the same moment, and run until all have been measured.

It holds no barrier that somebody could wait at for ever: whoever watches the loads asks it what to say now,
and a load that is lost ends them all.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

Until = Literal["all", "first"] | float
"""When Finish is said: all are measured, the first is, or so many seconds after the start."""

LEAD_S = 0.5
"""From Go to the start: loads look for what they are told every 20 ms."""


class Gate:
    """Says when to begin and when to finish; pure, with no clock of its own.

    Args:
        names: The loads.
        until: When to finish.
        arm_timeout_s: Longest time until all are armed, seconds.
        now_s: Seconds of any clock.
    """

    def __init__(self, names: Collection[str], until: Until, arm_timeout_s: float, now_s: float) -> None:
        assert names
        self._names = set(names)
        self._until = until
        self._arm_by_s = now_s + arm_timeout_s
        self._armed: set[str] = set()
        self._measured: set[str] = set()
        self._go_s: float | None = None
        self._is_finished = False

    def armed(self, name: str) -> None:
        """A load is ready to begin."""
        self._armed.add(name)

    def measured(self, name: str) -> None:
        """The measured part of a load is over."""
        self._measured.add(name)

    def late(self, now_s: float) -> list[str]:
        """The loads that should be armed by now and are not."""
        return sorted(self._names - self._armed) if now_s > self._arm_by_s else []

    def next(self, now_s: float) -> Literal["go", "finish"] | None:
        """What to say to all loads now; each is said once."""
        if self._go_s is None:
            if self._armed < self._names:
                return None
            self._go_s = now_s
            return "go"
        if self._is_finished or not self._is_time(now_s - self._go_s):
            return None
        self._is_finished = True
        return "finish"

    def _is_time(self, since_s: float) -> bool:
        if self._measured >= self._names:
            return True
        if self._until == "first":
            return bool(self._measured)
        return self._until != "all" and since_s >= self._until
