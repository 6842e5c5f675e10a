"""`harness-llm system`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import Annotated

import typer

from harness_llm.cli.options import AsJson, Division
from harness_llm.cli.output import EXIT_INVALID, print_json, print_text


def system_verb(
    output: Annotated[Path | None, typer.Option(help="Write the system description here (JSON).")] = None,
    template: Annotated[Path | None, typer.Option(help="Write a system YAML to fill in.")] = None,
    system_yaml: Annotated[Path | None, typer.Option("--yaml", help="The filled-in system YAML.")] = None,
    company: Annotated[str, typer.Option(help="Submitter.")] = "",
    division: Annotated[Division, typer.Option(help="Where results of it are to count.")] = Division.OPEN,
    as_json: AsJson = False,
) -> None:
    """Detect this system, say what must be added by hand, and write its description."""
    from harness_llm.system.command import system_command, write_template

    if template is not None:
        write_template(template)
        print_text(f"{template}: fill in what is empty, then give it with --yaml")
        return
    result = system_command(output, system_yaml, company, str(division))
    if as_json:
        print_json({"system": result.description, "problems": [str(problem) for problem in result.problems]})
    else:
        print_text("\n".join([*(f"{key}: {value}" for key, value in result.description.items()), ""]))
        for problem in result.problems:
            print_text(f"missing: {problem}")
    if result.problems:
        raise typer.Exit(EXIT_INVALID)
