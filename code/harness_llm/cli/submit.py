"""`harness-llm submit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness_llm.cli.check import report_check
from harness_llm.cli.options import Division, Overrides, known_round, read_configs
from harness_llm.cli.output import print_text, show_run
from harness_llm.cli.package import report_package
from harness_llm.cli.run import measure
from harness_llm.cli.tune import tune_all

if TYPE_CHECKING:
    from harness_llm.benchmark import Benchmark


def submit_verb(
    benchmark: Annotated[str, typer.Argument(help="Benchmark, e.g. llama2-70b-99.9.", show_default=False)],
    company: Annotated[str, typer.Option(help="Submitter.", envvar="COMPANY", show_default=False)],
    system_name: Annotated[
        str, typer.Option(help="Name of the system in the tree.", envvar="SYSTEM_NAME", show_default=False)
    ],
    gpu: Annotated[
        str,
        typer.Option(
            help="Which of the benchmark's configurations: h200, mi300x, …, cpu.",
            envvar="GPU_NAME",
            show_default=False,
        ),
    ],
    scenario: Annotated[
        list[str] | None,
        typer.Option(help="May be repeated. Without it: all that have a configuration.", envvar="SCENARIOS"),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            help="May be repeated. Without it: performance, accuracy and the round's compliance tests.",
            envvar="TESTS",
        ),
    ] = None,
    overrides: Overrides = None,
    user_conf: Annotated[
        Path | None, typer.Option(help="Another user.conf than the configuration's.", envvar="USER_CONF")
    ] = None,
    round_name: Annotated[
        str | None,
        typer.Option(
            "--round", help="Round of the rules, e.g. v6.1. Without it: the latest.", envvar="ROUND"
        ),
    ] = None,
    division: Annotated[
        Division, typer.Option(help="Where the result is to count.", envvar="DIVISION")
    ] = Division.OPEN,
    system_yaml: Annotated[
        Path | None, typer.Option(help="What the machine cannot tell; see `system`.", envvar="SYSTEM_YAML")
    ] = None,
    documentation: Annotated[Path | None, typer.Option(help="Folder with documents to submit.")] = None,
    output: Annotated[
        Path, typer.Option(help="Folder for inference_results_<round>.", envvar="LAB_SUBMISSION")
    ] = Path("submission"),
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="First get the benchmark's model and data sets where they are missing."),
    ] = False,
    tune: Annotated[
        bool,
        typer.Option("--tune", help="First find the highest rate of each scenario; see `harness-llm tune`."),
    ] = False,
    rehearse: Annotated[
        bool,
        typer.Option("--rehearse", help="Made-up answers by the simulated engine: never a result."),
    ] = False,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            help="With --rehearse: samples:prompt:answer in tokens, or TEST07=samples:prompt:answer.",
        ),
    ] = None,
) -> None:
    """Measure, score, check and package one benchmark; what is packaged is the run that was measured."""
    from harness_llm.benchmark import resolve
    from harness_llm.errors import ConfigError
    from harness_llm.package.layout import check_name
    from harness_llm.run.lineup import line_up

    round_name = known_round(round_name)
    check_name(company, "company")
    check_name(system_name, "system name")
    if rehearse and division is Division.CLOSED:
        raise ConfigError(
            "a rehearsal makes answers up: simulated, not a result, so it cannot go into closed",
            "Leave --division out to rehearse, or --rehearse to measure.",
        )
    known = resolve(benchmark)
    lineup = line_up(
        known,
        gpu,
        scenarios=scenario or (),
        tests=test or (),
        user_conf=user_conf,
        rehearsal=rehearse,
        shapes=shape or (),
    )
    if fetch:
        _fetch(known)
    configs = read_configs(lineup.profiles, [*lineup.overrides, *(overrides or ())])
    if not rehearse and "accuracy" in lineup.tests:
        _fetch_score_data(known)
    if tune:
        configs = tune_all(configs)
    folder = measure(configs, lineup.tests, resume=True)
    codes = [show_run(folder), report_check(folder, round_name, only_failures=True)]
    report_package(
        folder,
        round=round_name,
        division=division,
        company=company,
        system_name=system_name,
        output=output,
        system_yaml=system_yaml,
        documentation=documentation,
        replace=True,
    )
    if rehearse:
        print_text(
            "rehearsed to the end: simulated, not a result. It takes seconds, so the checks of the minimum "
            "duration fail."
        )
    if any(codes):
        raise typer.Exit(max(codes))


def _fetch(benchmark: Benchmark) -> None:
    """Get the benchmark's model and data sets; what is there and right already is left alone."""
    from harness_llm.cli.fetch import fetch_verb

    fetch_verb(model=benchmark.name if benchmark.model else None)
    for name in benchmark.datasets:
        fetch_verb(dataset=name)


def _fetch_score_data(benchmark: Benchmark) -> None:
    """Get what the benchmark's metric needs beside the samples: nltk's sentences for ROUGE-Lsum."""
    import os

    from harness_llm.accuracy.metrics.rouge import BY_SENTENCE
    from harness_llm.fetch.places import dataset_root
    from harness_llm.fetch.punkt import fetch_punkt

    if BY_SENTENCE in benchmark.metrics:
        fetch_punkt(dataset_root(os.environ))
