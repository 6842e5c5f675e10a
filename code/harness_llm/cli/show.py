"""`harness-llm show`."""

from __future__ import annotations

import typer

from harness_llm.cli.options import AsJson, RunDirectory  # noqa: TC001 - typer reads the annotations at run time
from harness_llm.cli.output import show_run


def show_verb(run_folder: RunDirectory, as_json: AsJson = False) -> None:
    """Show the results of a run folder."""
    raise typer.Exit(show_run(run_folder, as_json=as_json))
