"""Follows a run by its live.jsonl: from another terminal, after its end, or after it was killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from harness_llm.results.held import is_in_use
from harness_llm.results.live_file import LiveReader
from harness_llm.results.run_folder import state_of
from harness_llm.views.live import View
from harness_llm.views.run_summary import record_of

_POLL_S = 0.5


def follow(run: Path, view: View, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show a run that another process makes, from its begin to its end; nothing is written.

    Args:
        run: The run folder.
        view: Where; it says itself what the records say was said.
        sleep: Called between two looks.

    Raises:
        FolderError: It is no run folder, or its live.jsonl is missing or cannot be read.
    """
    record_of(run)
    reader = LiveReader(run)
    is_over = False
    while not is_over:
        is_over = not is_in_use(run)  # before the last look
        for record in reader.new():
            view.tick(record)
        if not is_over:
            sleep(_POLL_S)
    state, reason = state_of(run, record_of(run))
    view.say(f"the run is {state}{f': {reason}' if reason else ''}")
