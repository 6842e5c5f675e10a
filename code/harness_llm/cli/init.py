"""`harness-llm init`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness_llm.cli.output import print_text
from harness_llm.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from harness_llm.config.asked import Answers, Given


def init_verb(
    model: Annotated[
        str | None,
        typer.Option(
            help="Your model: a checkpoint folder, or OWNER/NAME of the hub; with --server the folder of its "
            "tokenizer."
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            help="An official benchmark, e.g. llama2-70b; with --model or --server a name of yours."
        ),
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(help="URL of a server that runs already, e.g. http://127.0.0.1:8000; may be repeated."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Your prompts; without it, made-up ones.", show_default=False)
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(help="Offline, Server or Interactive; may be repeated. Without it: Server."),
    ] = None,
    ttft: Annotated[float | None, typer.Option(help="Limit of TTFT at p99, ms; else none.", min=1)] = None,
    tpot: Annotated[float | None, typer.Option(help="Limit of TPOT at p99, ms; else none.", min=1)] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Samples per second to begin with. Without it: a share of what the machine holds, measured "
            "right before.",
            min=0.001,
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, tokens.", min=2)] = 256,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="Whose shipped settings to begin with, e.g. h200. Without it: the GPU that is found."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the files.")] = Path(),
    replace: Annotated[bool, typer.Option("--replace", help="Write over files that are there.")] = False,
) -> None:
    """Write a first configuration: asks for what no option says, if there is a terminal to ask on."""
    from harness_llm.config.asked import Given, answers_to
    from harness_llm.config.starter import starter_files
    from harness_llm.files import write_atomically

    given = Given(
        model=model, benchmark=benchmark, servers=tuple(server or ()), data=data,
        scenarios=tuple(scenario or ("Server",)), ttft_ms=ttft, tpot_ms=tpot, rate=rate,
        max_tokens=max_tokens, gpu=gpu,
    )  # fmt: skip
    answers = answers_to(given if model or benchmark or server else _asked(given))
    files = starter_files(answers, output)
    if (there := [path for path in files if path.exists()]) and not replace:
        names = ", ".join(map(str, there))
        raise ConfigError(f"{names}: exists", "Pass --replace, or another folder with --output.")
    output.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        write_atomically(path, text)
        print_text(f"wrote {path}")
    print_text("\n".join([*answers.notes, *_next(answers, list(files)[:-1])]))


def _asked(given: Given) -> Given:
    """With what the user answers on the terminal."""
    from dataclasses import replace

    from harness_llm.config.asked import kind_of

    if not sys.stdin.isatty():
        raise UsageError(
            "init: nothing to measure is named, and there is no terminal to ask on",
            "Pass --model FOLDER, --benchmark NAME or --server URL.",
        )
    what = kind_of(
        typer.prompt(
            "What do you measure? A model folder, OWNER/NAME of the hub, a benchmark, or a server's URL"
        ).strip()
    )
    if "benchmark" in what:
        return replace(given, **what)
    prompts = typer.prompt(
        "Your prompts, a file (empty: made-up ones)", default="", show_default=False
    ).strip()
    return replace(
        given,
        **what,
        data=Path(prompts) if prompts else given.data,
        ttft_ms=typer.prompt("Limit of TTFT at p99, ms; 0: none", default=given.ttft_ms or 0, type=float),
        tpot_ms=typer.prompt("Limit of TPOT at p99, ms; 0: none", default=given.tpot_ms or 0, type=float),
    )


def _next(answers: Answers, files: list[Path]) -> list[str]:
    """What to type now."""
    tests = "" if answers.benchmark.is_official else " --test performance"
    names = " ".join(f"-c {path}" for path in files)
    return [
        f"check:   harness-llm prepare {names}{tests}",
        f"measure: harness-llm run {names}{tests}",
    ]
