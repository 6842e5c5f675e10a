"""`harness-llm check`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from harness_llm.cli.options import AsJson, Division, RoundName, existing, known_round
from harness_llm.cli.output import EXIT_INVALID, print_json, print_text
from harness_llm.errors import UsageError
from harness_llm.results.paths import RUN_JSON

if TYPE_CHECKING:
    from harness_llm.check import Report


def check_verb(
    path: Annotated[Path, typer.Argument(help="Run folder, or submission tree.", show_default=False)],
    round_name: RoundName = None,
    division: Annotated[
        Division | None, typer.Option(help="For a tree: the one to check; without it both.")
    ] = None,
    failures: Annotated[bool, typer.Option("--failures", help="List only what failed.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="List every check, and every file that shares a finding.")
    ] = False,
    score_again: Annotated[
        bool, typer.Option("--score-again", help="For a run: score its answers again, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a run folder or a tree against every rule; each failure says what to do."""
    if code := report_check(
        existing(path),
        known_round(round_name),
        division,
        only_failures=failures,
        every=every,
        score_again=score_again,
        as_json=as_json,
    ):
        raise typer.Exit(code)


def report_check(
    path: Path,
    round_name: str,
    division: Division | None = None,
    *,
    only_failures: bool = False,
    every: bool = False,
    score_again: bool = False,
    as_json: bool = False,
) -> int:
    """Check a run folder or a tree and write the report.

    Returns:
        The exit code: 1 if a check failed.
    """
    from harness_llm.check import check_run, check_tree
    from harness_llm.check.render import render

    is_run = (path / RUN_JSON).exists()
    tree_division = None if division is None else str(division)
    report = check_run(path, round_name) if is_run else check_tree(path, round_name, tree_division)
    if score_again:
        report = _scored_again(path, report, is_run=is_run)
    if as_json:
        print_json(report.to_json())
    else:
        print_text(render(report, only_failures=only_failures, every=every))
    return 0 if report.passed else EXIT_INVALID


def _scored_again(path: Path, report: Report, *, is_run: bool) -> Report:
    from harness_llm.run.score_again import score_again_checks

    if not is_run:
        raise UsageError(f"{path}: not a run folder", "A tree has no whole answers; give the run itself.")
    return replace(report, checks=(*report.checks, *score_again_checks(path)))
