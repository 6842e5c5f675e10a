"""`harness-llm show`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness_llm.cli.options import AsJson, RunDirectory  # noqa: TC001 - typer reads the annotations at run time
from harness_llm.cli.output import show_run
from harness_llm.errors import UsageError


def show_verb(
    run_folder: RunDirectory,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a line of CSV for each scenario.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the results of a run folder."""
    if as_csv and as_json:
        raise UsageError("--csv and --json: two forms of the same", "Pass one of them.")
    raise typer.Exit(show_run(run_folder, as_json=as_json, as_csv=as_csv))
