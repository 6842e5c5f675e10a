"""A clock by which silence is judged: it runs only while somebody listens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


_LONGEST_LOOK_S = 1.0


class ListeningClock:
    """Seconds spent listening: a look that comes late counts as one second, however late it is.

    Who did not listen cannot say who was silent. A supervisor that was stopped, starved of its core or held
    up by a terminal would else take for dead whoever spoke meanwhile and could not be heard.

    Args:
        monotonic: Where the time comes from, seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._looked = monotonic()
        self._heard_for = 0.0

    def look(self) -> float:
        """Note that somebody listens now; returns the clock's time, seconds."""
        now = self._monotonic()
        self._heard_for += min(now - self._looked, _LONGEST_LOOK_S)
        self._looked = now
        return self._heard_for

    @property
    def now_s(self) -> float:
        """The clock's time at the last look, seconds."""
        return self._heard_for
