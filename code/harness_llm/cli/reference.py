"""`harness-llm reference`."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import Annotated

import typer

from harness_llm.cli.options import Overrides, read_configs
from harness_llm.cli.output import print_text


class Precision(StrEnum):
    """The type that weights are converted to and the model computes in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def reference_verb(
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", help="Harness YAML file that the reference is for.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option(help="reference.json to write.", show_default=False)],
    overrides: Overrides = None,
    dtype: Annotated[
        Precision,
        typer.Option(help="Weights stored in fewer bits are converted, which float32 does exactly."),
    ] = Precision.FLOAT32,
    batch: Annotated[int, typer.Option(min=1, help="Samples at once.")] = 8,
) -> None:
    """Score plain transformers on a benchmark of your own: the reference that its runs are judged by."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch reads it when it is imported
    from harness_llm.run.reference_run import make_reference_of

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s", force=True)
    made_by = shlex.join(["harness-llm", *sys.argv[1:]])
    (given,) = read_configs([config], overrides)
    reference = make_reference_of(given, made_by=made_by, dtype=str(dtype), batch=batch)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(reference.model_dump_json(indent=2) + "\n", encoding="utf-8")
    print_text(f"{output}: {reference.scores}")
