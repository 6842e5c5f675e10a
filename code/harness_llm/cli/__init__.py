"""The command line: `harness-llm`, also `python -m harness_llm`; one module per verb.

A verb reads its options, calls one function of the package, and writes what came of it. It imports what it
needs when it is called, so that `--help` is there at once.

Exit codes: 0 good; 1 an INVALID run or a failed check; 2 wrong usage or configuration; 3 the run broke.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import Annotated, Any, NoReturn

import typer

from harness_llm import quiet, secret_values, terminal
from harness_llm.cli.check import check_verb
from harness_llm.cli.compare import compare_verb
from harness_llm.cli.convert import convert_verb
from harness_llm.cli.doctor import doctor_verb
from harness_llm.cli.export import export_verb
from harness_llm.cli.fetch import fetch_verb
from harness_llm.cli.init import init_verb
from harness_llm.cli.list import list_verb
from harness_llm.cli.output import print_versions, say_error
from harness_llm.cli.package import package_verb
from harness_llm.cli.prepare import prepare_verb
from harness_llm.cli.quantize import quantize_verb
from harness_llm.cli.reference import reference_verb
from harness_llm.cli.report import report_verb
from harness_llm.cli.run import run_verb
from harness_llm.cli.score import score_verb
from harness_llm.cli.show import show_verb
from harness_llm.cli.simulate import simulate_verb
from harness_llm.cli.study import study_verb
from harness_llm.cli.submit import submit_verb
from harness_llm.cli.system import system_verb
from harness_llm.cli.tune import tune_verb
from harness_llm.cli.watch import watch_verb
from harness_llm.errors import HarnessError, RunBroken, UsageError, told_by_host

__all__ = ["app", "main"]

_log = logging.getLogger(__name__)
_CLICK_INTERRUPTED = 130
_Misused: type[Any] = typer.BadParameter.__mro__[2]  # ClickException, of click or of typer's own copy

app = typer.Typer(
    help="MLPerf-style benchmarks of LLM inference: LoadGen drives vLLM; results are checked and packaged.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Exit codes: 0 good, 1 an INVALID run or a failed check, 2 wrong usage, 3 the run broke.",
)


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=print_versions, help="Print versions and exit."),
    ] = False,
) -> None:
    del version


app.command("doctor", short_help="Look at this machine: what will fail, and the remedy.")(doctor_verb)
app.command("fetch", short_help="Get models and data sets.")(fetch_verb)
app.command("init", short_help="Write a first configuration.")(init_verb)
app.command("convert", short_help="Write harness YAML files of AMD's form in ours.")(convert_verb)
app.command("prepare", short_help="Read and check all that a run needs; start nothing.")(prepare_verb)
app.command("run", short_help="Measure and score, then give the verdict.")(run_verb)
app.command("score", short_help="Score or verify a finished run again.")(score_verb)
app.command("show", short_help="Show the results of a run folder.")(show_verb)
app.command("report", short_help="Write one page about runs, with charts.")(report_verb)
app.command("compare", short_help="Say what differs between runs beyond chance.")(compare_verb)
app.command("export", short_help="Write the samples of a run as Parquet.")(export_verb)
app.command("watch", short_help="Watch a run from another terminal.")(watch_verb)
app.command("list", short_help="List the runs in a folder.")(list_verb)
app.command("check", short_help="Check a run folder or a tree against every rule.")(check_verb)
app.command("package", short_help="Write results into a submission tree.")(package_verb)
app.command("quantize", short_help="Make an FP8 checkpoint that vLLM serves.")(quantize_verb)
app.command("reference", short_help="Score plain transformers, to judge a benchmark of your own.")(
    reference_verb
)
app.command("study", short_help="Measure settings again and again, such as power caps, and compare them.")(
    study_verb
)
app.command("submit", short_help="Measure, score, check and package one benchmark.")(submit_verb)
app.command("tune", short_help="Find the highest rate whose run is VALID.")(tune_verb)
app.command("simulate", short_help="Predict another fleet from a run.")(simulate_verb)
app.command("system", short_help="Detect this system and write its description.")(system_verb)


def main() -> NoReturn:
    """Run the command line; every error that is ours ends as one message and its exit code."""
    _log_to_stderr()
    quiet.quiet_libraries()
    secret_values.know_environment()
    try:
        code = app(prog_name="harness-llm", standalone_mode=False)
        if code == _CLICK_INTERRUPTED:
            terminal.say("stopped")
            code = RunBroken.exit_code
    except HarnessError as error:
        code = say_error(error)
    except _Misused as error:
        code = _say_usage(error)
    except Exception as error:  # noqa: BLE001 - the command line's edge: Python would end with 1: INVALID
        told = told_by_host(error) if isinstance(error, OSError | MemoryError) else None
        if told is None:
            _log.exception("an error in harness-llm itself; please report it with these lines")
            code = RunBroken.exit_code
        else:
            code = say_error(told)
    sys.exit(code)


def _say_usage(error: Any) -> int:
    """What typer says of a wrong command line."""
    text = io.StringIO()
    error.show(file=text)
    terminal.say(text.getvalue().rstrip("\n"))
    return UsageError.exit_code


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(terminal.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
