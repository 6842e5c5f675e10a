"""Many independent pieces of work, in as many processes as there are processors for."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_all_start_methods, get_context
from typing import TypeVar

T = TypeVar("T")

_FEWEST = 32  # pieces that are worth a second process
_MOST_PROCESSES = 4  # each needs memory of its own


def side_by_side(pieces: Sequence[Callable[[], T]]) -> list[T]:
    """What each piece gives, in their order.

    A few pieces are done here, one after another; so are many in a process with threads, which must not be
    forked, and where a process is killed.

    Args:
        pieces: Functions that read files and change nothing; they and their results can be pickled.
    """
    processes = min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)
    if len(pieces) >= _FEWEST and processes > 1 and threading.active_count() == 1 and _can_fork():
        try:
            return _forked(pieces, processes)
        except BrokenProcessPool:
            pass
    return [piece() for piece in pieces]


def _can_fork() -> bool:
    return "fork" in get_all_start_methods()


def _forked(pieces: Sequence[Callable[[], T]], processes: int) -> list[T]:
    with warnings.catch_warnings():
        # The threads of numpy's library, which does nothing here; Python 3.12 warns of any.
        warnings.simplefilter("ignore", DeprecationWarning)
        with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
            waiting = [pool.submit(piece) for piece in pieces]
            return [one.result() for one in waiting]
