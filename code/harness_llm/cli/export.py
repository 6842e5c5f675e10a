"""`harness-llm export`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import Annotated

import typer

from harness_llm.cli.options import AsJson, RunDirectory, require_extra
from harness_llm.cli.output import print_json, print_text


def export_verb(
    run_folder: RunDirectory,
    parquet: Annotated[Path, typer.Option(help="The Parquet file to write.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Write every sample of every test of a run as one Parquet table, a row a sample."""
    require_extra("parquet", "pyarrow")
    from harness_llm.results.parquet_export import write_parquet

    rows = write_parquet(run_folder, parquet)
    if as_json:
        print_json({"file": str(parquet), "rows": rows})
    else:
        print_text(f"{parquet}: {rows:,} samples")
