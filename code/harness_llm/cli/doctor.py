"""`harness-llm doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness_llm.cli.options import AsJson  # noqa: TC001 - typer reads the annotations at run time
from harness_llm.cli.output import EXIT_INVALID, print_json, print_text


def doctor_verb(
    output: Annotated[Path, typer.Option(help="Folder that results will go to.")] = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Look at this machine and its setup: what will fail, what costs speed, and the remedy for each."""
    from harness_llm.system.diagnosis import Judgement, Surroundings
    from harness_llm.system.doctor import examine

    there = next(folder for folder in (output, *output.absolute().parents) if folder.is_dir())
    findings = []
    for finding in examine(Surroundings(results=there)):
        findings.append(finding)
        if not as_json:
            print_text(str(finding))
    failing = [finding for finding in findings if finding.judgement is Judgement.FAILS]
    if as_json:
        print_json({"findings": [vars(finding) for finding in findings], "will_fail": bool(failing)})
    else:
        noted = sum(finding.judgement is Judgement.NOTE for finding in findings)
        print_text(f"{len(findings)} looked at: {len(failing)} will fail, {noted} to note")
    if failing:
        raise typer.Exit(EXIT_INVALID)
