"""`harness-llm report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness_llm.cli.options import AsJson  # noqa: TC001 - typer reads the annotations at run time
from harness_llm.cli.output import print_json, print_text
from harness_llm.installed import require_installed


def report_verb(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, as `run` printed them.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path(
        "report.html"
    ),
    charts: Annotated[
        Path | None,
        typer.Option(
            help="Folder for each chart as PNG and SVG; without it there are none.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write one page about runs: verdict, where the time went, charts; one file that needs no network."""
    require_installed("jinja2", "vl_convert", extra="report")
    from harness_llm.report.writing import write_report

    written = write_report(runs, output, charts)
    if as_json:
        names = [str(path) for path in written.pictures]
        print_json({"page": str(written.page), "bytes": written.size, "pictures": names})
        return
    print_text(f"{written.page}: {written.size / 1e6:.2f} MB; open it in a browser")
    if charts is not None:
        print_text(f"{charts}: {len(written.pictures)} pictures")
