"""How a command is ended from outside: a first signal interrupts it, further ones hurry its clean-up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TRAPPED = (signal.SIG_DFL, signal.default_int_handler)


class _Ending:
    """What this process was asked.

    Attributes:
        asked: Whether a signal asked for the end.
        holds: How many blocks hold what must be cleaned up.
    """

    def __init__(self) -> None:
        self.asked = False
        self.holds = 0
        self.hurried = threading.Event()

    def hear(self, *_: object) -> None:
        """A signal came."""
        if self.asked and self.holds:  # it must not tear the clean-up that the first one began
            self.hurried.set()
            return
        self.asked = True
        raise KeyboardInterrupt


_ending = _Ending()


def listen() -> None:
    """Make SIGTERM and the end of the terminal mean what Ctrl-C means; what is ignored (nohup) stays so."""
    for number in _NUMBERS:
        if signal.getsignal(number) in _TRAPPED:
            signal.signal(number, _ending.hear)


@contextmanager
def clean_up() -> Iterator[None]:
    """A block that must clean up whatever happens: once it is interrupted, further signals only hurry it."""
    _ending.holds += 1
    try:
        yield
    finally:
        _ending.holds -= 1


def is_hurried() -> bool:
    """Whether the user has asked again while things were cleaned up: wait for nobody's good manners."""
    return _ending.hurried.is_set()


def check() -> None:
    """Raise the interruption again that a library swallowed; for a loop that runs for long.

    Raises:
        KeyboardInterrupt: The end was asked for, and yet the caller runs.
    """
    if _ending.asked:
        raise KeyboardInterrupt
