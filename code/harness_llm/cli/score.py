"""`harness-llm score`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import Annotated

import typer

from harness_llm.cli.options import AsJson, RunDirectory, existing
from harness_llm.cli.output import EXIT_INVALID, print_json, print_text


def score_verb(
    run: RunDirectory,
    test: Annotated[
        list[str] | None,
        typer.Option(
            "--test", help="E.g. Offline/accuracy; may be repeated. Without it: every test of the run."
        ),
    ] = None,
    output_of: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Take over what MLCommons' own accuracy script printed, for what it alone can score.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score or verify the tests of a finished run again; nothing is measured."""
    from harness_llm.run.score import score_run

    results = score_run(existing(run), test or (), output_of)
    if as_json:
        print_json(
            {
                "run": str(run),
                "tests": {item.test: {"passed": item.passed, "text": item.text} for item in results},
            }
        )
    for item in () if as_json else results:
        print_text(f"{item.test}: {item.text or 'nothing to score'}")
    if any(item.passed is False for item in results):
        raise typer.Exit(EXIT_INVALID)
