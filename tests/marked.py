"""Processes that a test started, known by a variable that each of them inherits."""

from __future__ import annotations

import psutil

MARK = "HARNESS_LLM_TEST_MARK"
"""Environment variable that a test sets to a value of its own."""


def marked_processes(mark: str, part: str = "") -> list[psutil.Process]:
    """Living processes with that mark whose command line holds `part`."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get(MARK) == mark
                and process.status() != psutil.STATUS_ZOMBIE
                and part in " ".join(process.cmdline())
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found
