"""`python -m harness_llm.quantize`: quantize a checkpoint to FP8 for vLLM."""

import logging
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness_llm.errors import HarnessError
from harness_llm.quantize.calibration import CalibrationKind
from harness_llm.quantize.plan import Backend
from harness_llm.quantize.run import Request, quantize

_APP = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@_APP.command()
def main(
    model: Annotated[Path, typer.Option(help="Folder of the source checkpoint (bf16 or fp16).")],
    calibration: Annotated[
        Path, typer.Option(help="Calibration set: OpenOrca pickle, HumanEval folder, JSONL.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the FP8 checkpoint.")],
    kind: Annotated[
        CalibrationKind | None, typer.Option(help="Kind of the set; by its file name if not given.")
    ] = None,
    backend: Annotated[
        Backend | None,
        typer.Option(help="quark where the GPU is AMD's, modelopt everywhere else, if not given."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Calibration samples, the first ones.")] = 1000,
    sequence_length: Annotated[
        int, typer.Option(min=1, help="Longer samples are cut to this many tokens.")
    ] = 1024,
    write_up: Annotated[
        Path | None, typer.Option(help="Copy calibration.md here too (it is always in the output folder).")
    ] = None,
) -> None:
    """Quantize to FP8: weights, activations and key/value cache, per-tensor static scales, lm_head left out.

    Interrupted and run again with the same options, it continues.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    request = Request(
        model=model,
        calibration=calibration,
        kind=kind,
        output=output,
        backend=backend,
        samples=samples,
        sequence_length=sequence_length,
        write_up=write_up,
        command=shlex.join(["python", "-m", "harness_llm.quantize", *sys.argv[1:]]),
    )
    try:
        quantize(request)
    except HarnessError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command continues", err=True)
        raise typer.Exit(130) from None
    typer.echo(str(output))


if __name__ == "__main__":
    _APP(prog_name="python -m harness_llm.quantize")
