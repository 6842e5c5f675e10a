"""How a command is ended from outside: a first signal interrupts it, further ones hurry its clean-up."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


def told_exit(code: int) -> str:
    """How a process ended, by its exit code: `was killed by SIGKILL`, `ended with exit code 3`."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-code}"


_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TRAPPED = (signal.SIG_DFL, signal.default_int_handler)


_ENOUGH_S = 2.0  # for a command without anything to clean up to end


class _Ending:
    """What this process was asked.

    Attributes:
        asked: Whether a signal asked for the end.
        holds: How many blocks hold what must be cleaned up.
        heard_s: When it was last interrupted.
    """

    def __init__(self) -> None:
        self.asked = False
        self.holds = 0
        self.heard_s = 0.0
        self.hurried = threading.Event()

    def hear(self, *_: object) -> None:
        """A signal came."""
        now = time.monotonic()
        if self.asked and (self.holds or now - self.heard_s < _ENOUGH_S):
            self.hurried.set()  # and no more: it must not tear the clean-up that the first one began
            return
        self.asked, self.heard_s = True, now
        raise KeyboardInterrupt


_ending = _Ending()


def listen() -> None:
    """Make SIGTERM and the end of the terminal mean what Ctrl-C means; what is ignored (nohup) stays so."""
    for number in _NUMBERS:
        if signal.getsignal(number) in _TRAPPED:
            signal.signal(number, _ending.hear)


def be_over() -> None:
    """Hear nothing any more: the command has ended, and its exit code stands."""
    for number in _NUMBERS:
        if signal.getsignal(number) not in (signal.SIG_IGN, *_TRAPPED):
            signal.signal(number, signal.SIG_IGN)


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
