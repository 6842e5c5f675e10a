"""What verbs write to stdout, and the exit code that goes with a bad result."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from pathlib import Path


EXIT_INVALID = 1
EXIT_BROKEN = 3
_WIDTH = 110  # of tables, where stdout is no terminal


def print_text(text: str) -> None:
    """Write a text and a line end."""
    sys.stdout.write(text + "\n")


def print_json(document: dict[str, Any]) -> None:
    """Write one JSON document."""
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def log_progress() -> None:
    """Let the log say on stderr how a long work goes, a plain line each."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in root.handlers:
        if type(handler) is logging.StreamHandler:  # the command line's; a test has others
            handler.setFormatter(logging.Formatter("%(message)s"))
    for noisy in ("httpx", "httpx2", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def show_run(folder: Path, *, as_json: bool = False) -> int:
    """Write the results of a run folder.

    Returns:
        The exit code: 1 if the run is INVALID.

    Raises:
        FolderError: It is no run folder.
    """
    from harness_llm.views.summary import summarize

    summary = summarize(folder)
    if as_json:
        print_json({**summary.to_json(), "run": str(folder)})
    else:
        Console(highlight=False, width=_WIDTH if not sys.stdout.isatty() else None).print(summary.table())
        for reason in summary.reasons():
            print_text(f"  {reason}")
        for sentence in summary.advice():
            print_text(f"  do: {sentence}")
        print_text(f"run folder: {folder}")
    return 0 if summary.is_valid else EXIT_INVALID
