"""`harness-llm check`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import Annotated

import typer

from harness_llm.cli.options import AsJson, Division, RoundName, existing, known_round
from harness_llm.cli.output import EXIT_INVALID, print_json, print_text
from harness_llm.results.paths import RUN_JSON

__all__ = ["check_verb"]


def check_verb(
    path: Annotated[Path, typer.Argument(help="Run folder, or submission tree.", show_default=False)],
    round_name: RoundName = None,
    division: Annotated[
        Division | None, typer.Option(help="For a tree: the one to check; without it both.")
    ] = None,
    failures: Annotated[bool, typer.Option("--failures", help="List only what failed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a run folder or a tree against every rule; each failure says what to do."""
    from harness_llm.check import check_run, check_tree

    chosen = known_round(round_name)
    is_run = (existing(path) / RUN_JSON).exists()
    tree_division = None if division is None else str(division)
    report = check_run(path, chosen) if is_run else check_tree(path, chosen, tree_division)
    if as_json:
        print_json(report.to_json())
    else:
        print_text(report.render(only_failures=failures))
    if not report.passed:
        raise typer.Exit(EXIT_INVALID)
