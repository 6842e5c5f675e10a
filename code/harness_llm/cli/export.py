"""`harness-llm export`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import Annotated

import typer

from harness_llm.cli.options import AsJson, RunDirectory  # noqa: TC001 - typer reads the annotations at run time
from harness_llm.cli.output import print_json, print_text
from harness_llm.installed import require_installed


def export_verb(
    run_folder: RunDirectory,
    parquet: Annotated[
        Path | None,
        typer.Option(
            help="The Parquet file to write: every sample of every test, a row each.", show_default=False
        ),
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option(
            help="Tracking URI of MLflow to write the run to, its numbers, configuration and records; an "
            'empty one ("") leaves it to MLFLOW_TRACKING_URI.',
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a run for other tools: its samples as one Parquet table, the run itself to MLflow, or both."""
    from harness_llm.errors import UsageError

    if parquet is None and mlflow is None:
        raise UsageError("nothing to write", "Pass --parquet, --mlflow, or both.")
    written: dict[str, object] = {}
    if parquet is not None:
        require_installed("pyarrow", extra="parquet")
        from harness_llm.results.parquet_export import write_parquet

        written |= {"file": str(parquet), "rows": write_parquet(run_folder, parquet)}
    if mlflow is not None:
        require_installed("mlflow")
        from harness_llm.views.mlflow_export import write_mlflow

        written["mlflow_run"] = write_mlflow(run_folder, mlflow)
    if as_json:
        print_json(written)
        return
    if parquet is not None:
        print_text(f"{parquet}: {written['rows']:,} samples")
    if mlflow is not None:
        print_text(f"MLflow: run {written['mlflow_run']}")
