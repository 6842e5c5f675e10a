"""Work beside the children: a score, a verdict or a record, while somebody watches them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future


def run_beside(work: Callable[[], None], turn: Callable[[], None]) -> None:
    """Do `work` on a thread of its own and `turn` again and again until it is done.

    The thread is a daemon, and not an executor's: whatever `turn` raises ends the run at once, and the work
    with it.

    Args:
        work: Called once; what it raises is raised here.
        turn: Called on the caller's thread; takes its time, as a poll does.
    """
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
            future.set_result(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the future is asked
            future.set_exception(error)

    threading.Thread(target=run, name="follow-up", daemon=True).start()
    while not future.done():
        turn()
    future.result()
