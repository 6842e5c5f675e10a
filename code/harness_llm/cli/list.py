"""`harness-llm list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness_llm.cli.options import AsJson  # noqa: TC001 - typer reads the annotations at run time
from harness_llm.cli.output import print_json, print_table, print_text


def list_verb(
    folder: Annotated[Path, typer.Argument(help="Folder of run folders or of studies.")] = Path("results"),
    as_json: AsJson = False,
) -> None:
    """List the runs in a folder, the newest last, each with its verdict."""
    from harness_llm.views.listing import list_runs, table

    runs = list_runs(folder)
    if as_json:
        print_json({"runs": [run.to_json() for run in runs]})
    elif runs:
        print_table(table(runs))
    else:
        print_text(f"no runs in {folder}")
