"""The command line: `harness-llm`, also `python -m harness_llm`.

Exit codes: 0 good; 1 an INVALID run or a failed check; 2 wrong usage or configuration; 3 the run broke.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from harness_llm.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_llm.config.model import RunConfig

__all__ = ["app", "main"]

app = typer.Typer(
    help="MLPerf-style benchmarks of LLM inference: LoadGen drives vLLM; results are checked and packaged.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 good, 1 an INVALID run or a failed check, 2 wrong usage, 3 the run broke.",
)

_EXIT_INVALID = 1
_EXIT_BROKEN = 3
_RESULTS = Path("results")
_WIDTH = 110  # of tables, where stdout is no terminal

Configs = Annotated[
    list[Path],
    typer.Option("--config", "-c", help="Harness YAML file; one for each scenario.", show_default=False),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override, e.g. --set llm_config.max_num_seqs=64; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout instead of text.")]
RunDirectory = Annotated[Path, typer.Argument(help="Run folder, as `run` printed it.", show_default=False)]


@app.command()
def prepare(
    config: Configs,
    overrides: Overrides = None,
    test: Annotated[list[str] | None, typer.Option("--test", help="As for `run`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read and check everything that a run needs, and start nothing."""
    from harness_llm.run import TESTS
    from harness_llm.run import prepare as prepare_run

    prepared = prepare_run(_load(config, overrides), tuple(test or TESTS))
    table = prepared.table
    document = {
        "benchmark": prepared.benchmark,
        "official": prepared.is_official,
        "marker": prepared.marker,
        "dataset": {
            "name": table.name,
            "samples": len(table),
            "digest": table.digest,
            "longest_prompt_tokens": int(table.prompt_lengths.max()),
            "longest_answer_tokens": int(table.max_tokens.max()),
        },
        "tests": [
            {"name": planned.name, "target_qps": planned.target_qps, "expected_samples": planned.expected}
            for planned in prepared.tests
        ],
    }
    if as_json:
        _print_json(document)
        return
    lines = [
        f"{prepared.benchmark}" + (f" ({prepared.marker})" if prepared.marker else ""),
        f"  data set {table.name}: {len(table):,} samples, "
        f"prompts up to {table.prompt_lengths.max()} tokens, "
        f"answers up to {table.max_tokens.max()}; digest {table.digest[:12]}",
        *(
            f"  {planned.name}: target {planned.target_qps:g} samples/s, about {planned.expected:,} samples"
            for planned in prepared.tests
            if planned.expected is not None
        ),
        "everything that can be checked before a start is good",
    ]
    _print("\n".join(lines))


@app.command()
def run(
    config: Configs,
    overrides: Overrides = None,
    test: Annotated[
        list[str] | None,
        typer.Option(
            "--test", help="performance, accuracy, or a compliance test such as TEST06; may be repeated."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Run folder. By default results/<benchmark>_<time>.", show_default=False),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the unfinished run in --output; without --output, the newest unfinished run of "
            "the same configuration under results/, or begin a new one.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure: every scenario and test given, then scores, then the verdict."""
    from harness_llm.run import TESTS, execute, find_unfinished
    from harness_llm.run import prepare as prepare_run
    from harness_llm.scoring import finish_test
    from harness_llm.supervise.view import make_view

    configs = _load(config, overrides)
    prepared = prepare_run(configs, tuple(test or TESTS))
    by_scenario = {str(item.harness_config.scenario): item for item in configs}
    unfinished = find_unfinished(prepared, _RESULTS) if resume and output is None else None
    folder = output or unfinished or _RESULTS / f"{prepared.benchmark}_{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    view = make_view(prepared.marker, quiet=as_json)

    def after_test(path: Path) -> None:
        line = finish_test(path, by_scenario[path.parent.name], prepared.table)
        if line:
            view.say(line)

    try:
        if unfinished is not None:
            view.say(f"continuing {unfinished}")
        execute(prepared, folder, view, resume=resume, after_test=after_test)
    except KeyboardInterrupt:  # here, because click would make it exit code 130
        sys.stderr.write(f"stopped; what was measured is kept in {folder}, --resume continues it\n")
        raise typer.Exit(_EXIT_BROKEN) from None
    finally:
        view.close()
    _show(folder, as_json=as_json)


@app.command()
def show(run_folder: RunDirectory, as_json: AsJson = False) -> None:
    """Show the results of a run folder."""
    _show(run_folder, as_json=as_json)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Run folder, or submission tree.", show_default=False)],
    round_name: Annotated[str | None, typer.Option("--round", help="Round of the rules, e.g. v6.1.")] = None,
    division: Annotated[str | None, typer.Option(help="For a tree: closed or open; default both.")] = None,
    failures: Annotated[bool, typer.Option("--failures", help="List only what failed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a run folder or a tree against every rule; each failure says what to do."""
    from harness_llm import rules
    from harness_llm.check import check_run, check_tree

    chosen = round_name or rules.LATEST_ROUND
    is_run = (path / "run.json").exists()
    report = check_run(path, chosen) if is_run else check_tree(path, chosen, division)
    if as_json:
        _print_json(report.to_json())
    else:
        _print(report.render(only_failures=failures))
    if not report.passed:
        raise typer.Exit(_EXIT_INVALID)


@app.command()
def package(
    run_folder: RunDirectory,
    company: Annotated[str, typer.Option(help="Submitter.", show_default=False)],
    system_name: Annotated[str, typer.Option(help="Name of the system in the tree.", show_default=False)],
    division: Annotated[str, typer.Option(help="closed or open.")] = "open",
    round_name: Annotated[str | None, typer.Option("--round", help="Round; default: the latest.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for inference_results_<round>.")] = Path("submission"),
    system_yaml: Annotated[
        Path | None,
        typer.Option(help="What the machine cannot tell; see `system`.", show_default=False),
    ] = None,
    documentation: Annotated[
        Path | None, typer.Option(help="Folder with documents to submit.", show_default=False)
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(help="File the result under this name.", show_default=False),
    ] = None,
    maps_to: Annotated[
        str | None,
        typer.Option(
            "--maps-to", help="Open: the official benchmark that a model of your own is checked as."
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier result.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's results into a submission tree, or add them to one."""
    from harness_llm import rules
    from harness_llm.package.submission import package as package_run

    if division not in ("closed", "open"):
        raise typer.BadParameter(f"{division!r} is neither closed nor open", param_hint="--division")
    result = package_run(
        run_folder,
        round=round_name or rules.LATEST_ROUND,
        division="closed" if division == "closed" else "open",
        company=company,
        system_name=system_name,
        output=output,
        system_yaml=system_yaml,
        benchmark=benchmark,
        documentation=documentation,
        maps_to=maps_to,
        replace=replace,
    )
    if as_json:
        _print_json(
            {
                "tree": result.tree,
                "results": result.results,
                "marks": result.marks,
                "warnings": result.warnings,
            }
        )
        return
    lines = [*(f"note: {warning}" for warning in result.warnings), *(f"  {path}" for path in result.results)]
    marks = f" ({', '.join(result.marks)})" if result.marks else ""
    _print("\n".join([*lines, f"submission tree{marks}: {result.tree}"]))


@app.command()
def system(
    output: Annotated[
        Path | None, typer.Option(help="Write the system description here (JSON).", show_default=False)
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(help="Write a system YAML to fill in.", show_default=False),
    ] = None,
    system_yaml: Annotated[
        Path | None, typer.Option("--yaml", help="The filled-in system YAML.", show_default=False)
    ] = None,
    company: Annotated[str, typer.Option(help="Submitter.")] = "",
    division: Annotated[str, typer.Option(help="closed or open.")] = "open",
    as_json: AsJson = False,
) -> None:
    """Detect this system, say what must be added by hand, and write its description."""
    from harness_llm.system.command import system_command, write_template

    if template is not None:
        write_template(template)
        _print(f"{template}: fill in what is empty, then give it with --yaml")
        return
    result = system_command(output, system_yaml, company, division)
    if as_json:
        _print_json({"system": result.description, "problems": [str(problem) for problem in result.problems]})
    else:
        _print("\n".join([*(f"{key}: {value}" for key, value in result.description.items()), ""]))
        for problem in result.problems:
            _print(f"missing: {problem}")
    if result.problems:
        raise typer.Exit(_EXIT_INVALID)


def main() -> None:
    """Run the command line; every error that is ours ends as one message and its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _stopped)
    try:
        app()
    except HarnessError as error:
        _end(error)


def _end(error: HarnessError) -> NoReturn:
    kind = "error" if isinstance(error, UsageError) else "the run broke"
    sys.stderr.write(f"{kind}: {error}\n")
    sys.exit(error.exit_code)


def _stopped(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _load(paths: Sequence[Path], overrides: Sequence[str] | None) -> list[RunConfig]:
    from harness_llm.config.load import load_config

    return [load_config(path, overrides or ()) for path in paths]


def _show(folder: Path, *, as_json: bool) -> None:
    from harness_llm.summary import summarize

    summary = summarize(folder)
    if as_json:
        _print_json({**summary.to_json(), "run": str(folder)})
    else:
        Console(highlight=False, width=_WIDTH if not sys.stdout.isatty() else None).print(summary.table())
        for reason in summary.reasons():
            _print(f"  {reason}")
        _print(f"run folder: {folder}")
    if not summary.is_valid:
        raise typer.Exit(_EXIT_INVALID)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _print_json(document: dict[str, Any]) -> None:
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")
