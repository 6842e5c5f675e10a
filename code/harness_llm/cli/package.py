"""`harness-llm package`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness_llm.cli.options import AsJson, Division, RoundName, RunDirectory, existing, known_round
from harness_llm.cli.output import print_json, print_text


def package_verb(
    run_folder: RunDirectory,
    company: Annotated[str, typer.Option(help="Submitter.")],
    system_name: Annotated[str, typer.Option(help="Name of the system in the tree.")],
    division: Annotated[Division, typer.Option(help="Where the result is to count.")] = Division.OPEN,
    round_name: RoundName = None,
    output: Annotated[Path, typer.Option(help="Folder for inference_results_<round>.")] = Path("submission"),
    system_yaml: Annotated[
        Path | None, typer.Option(help="What the machine cannot tell; see `system`.")
    ] = None,
    documentation: Annotated[Path | None, typer.Option(help="Folder with documents to submit.")] = None,
    benchmark: Annotated[str | None, typer.Option(help="File the result under this name.")] = None,
    maps_to: Annotated[
        str | None, typer.Option(help="Open: the official benchmark that a model of your own is checked as.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier result.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's results into a submission tree, or add them to one."""
    report_package(
        existing(run_folder),
        round=known_round(round_name),
        division=division,
        company=company,
        system_name=system_name,
        output=output,
        system_yaml=system_yaml,
        benchmark=benchmark,
        documentation=documentation,
        maps_to=maps_to,
        replace=replace,
        as_json=as_json,
    )


def report_package(
    run_folder: Path,
    *,
    round: str,
    division: Division,
    company: str,
    system_name: str,
    output: Path,
    system_yaml: Path | None,
    documentation: Path | None,
    benchmark: str | None = None,
    maps_to: str | None = None,
    replace: bool = False,
    as_json: bool = False,
) -> None:
    """Package a run, and write what came of it; see `package` for the arguments."""
    from harness_llm.package.submission import package

    result = package(
        run_folder,
        round=round,
        division="closed" if division is Division.CLOSED else "open",
        company=company,
        system_name=system_name,
        output=output,
        system_yaml=system_yaml,
        benchmark=benchmark,
        documentation=documentation,
        maps_to=maps_to,
        replace=replace,
    )
    if as_json:
        print_json(
            {
                "tree": result.tree,
                "results": result.results,
                "marks": result.marks,
                "warnings": result.warnings,
            }
        )
        return
    lines = [*(f"note: {warning}" for warning in result.warnings), *(f"  {path}" for path in result.results)]
    marks = f" ({', '.join(result.marks)})" if result.marks else ""
    print_text("\n".join([*lines, f"submission tree{marks}: {result.tree}"]))
