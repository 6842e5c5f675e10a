"""`harness-llm quantize`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import Annotated

import typer

from harness_llm import terminal
from harness_llm.cli.output import log_progress, print_text
from harness_llm.quantize.recipe import Backend, CalibrationKind  # noqa: TC001 - likewise

_INTERRUPTED = 3


def quantize_verb(
    model: Annotated[Path, typer.Option(help="Folder of the source checkpoint (bf16 or fp16).")],
    calibration: Annotated[
        Path, typer.Option(help="Calibration set: OpenOrca pickle, HumanEval folder, or JSONL.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the FP8 checkpoint.")],
    kind: Annotated[
        CalibrationKind | None,
        typer.Option(help="Kind of the calibration set. Without it: by its file name."),
    ] = None,
    backend: Annotated[
        Backend | None,
        typer.Option(help="Without it: quark on an AMD GPU, modelopt everywhere else."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Use the first N samples of the set.")] = 1000,
    sequence_length: Annotated[
        int, typer.Option(min=1, help="Cut longer samples to this many tokens.")
    ] = 1024,
    write_up: Annotated[
        Path | None, typer.Option(help="Also copy calibration.md here; the output folder always has it.")
    ] = None,
) -> None:
    """Quantize a checkpoint to FP8: weights, activations and key/value cache; lm_head is left out.

    If interrupted, run the same command again: it continues.
    """
    from harness_llm.quantize.conversion import Options, quantize

    log_progress()
    options = Options(
        model=model,
        calibration=calibration,
        kind=kind,
        output=output,
        backend=backend,
        samples=samples,
        sequence_length=sequence_length,
        write_up=write_up,
        command=shlex.join(["harness-llm", *sys.argv[1:]]),
    )
    try:
        quantize(options)
    except KeyboardInterrupt:
        terminal.say("interrupted; the same command continues")
        raise typer.Exit(_INTERRUPTED) from None
    print_text(str(output))
