"""`harness-llm compare`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness_llm.cli.options import AsJson, Overrides, read_configs
from harness_llm.cli.output import EXIT_BROKEN, print_json, print_table, print_text
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_llm.compare.comparison import Comparison
    from harness_llm.config.harness import RunConfig

_LEAST = 2
_SHOWN_CHANGES = 40


def compare_verb(
    systems: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders, the first of which the others are compared with; or one folder that --pairs "
            "wrote; with --pairs harness YAML files or run folders to run again.",
            show_default=False,
        ),
    ],
    pairs: Annotated[
        int | None,
        typer.Option(help="Run the systems so many times by turns (ABABAB), then compare.", min=1),
    ] = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="The run folders are of two systems by turns: A B A B …")
    ] = False,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="With --pairs: where the runs go, or continue. By default results/compare_<time>.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare unlike runs all the same.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs: what was run otherwise, and which numbers differ beyond chance."""
    from harness_llm.compare.comparison import compare
    from harness_llm.run.alternation import arms_of, is_study

    folder = None
    if pairs is not None:
        folder = _measure(systems, pairs, overrides, output, quiet=as_json)
    elif overrides or output:
        raise ConfigError("--set and --output are for --pairs", "Add --pairs 3, or leave them out.")
    elif len(systems) == 1 and is_study(systems[0]):
        folder = systems[0]
    found = compare(arms_of(folder) if folder else _arms(systems, paired=paired), force=force)
    if as_json:
        print_json({"folder": folder, "comparisons": [comparison.to_json() for comparison in found]})
        return
    for comparison in found:
        _print(comparison)
    if folder:
        print_text(f"runs: {folder}")


def _arms(runs: Sequence[Path], *, paired: bool) -> list[list[Path]]:
    if len(runs) < _LEAST:
        raise ConfigError("one run folder cannot be compared", "Give two or more.")
    if not paired:
        return [[run] for run in runs]
    if len(runs) % 2:
        raise ConfigError(f"--paired: {len(runs)} run folders", "Give an even number: A B A B …")
    return [list(runs[0::2]), list(runs[1::2])]


def _measure(
    systems: Sequence[Path],
    pairs: int,
    overrides: Sequence[str] | None,
    output: Path | None,
    *,
    quiet: bool,
) -> Path:
    from harness_llm.core import Mode
    from harness_llm.run.alternation import measure_by_turns
    from harness_llm.run.prepare import prepare
    from harness_llm.views.live import make_view

    if not _LEAST <= len(set(systems)) == len(systems):
        raise ConfigError("--pairs: fewer than two different systems", "Give A and B.")
    arms = {str(path): prepare(_configs(path, overrides), (Mode.PERFORMANCE.folder,)) for path in systems}
    folder = output or Path("results") / f"compare_{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    view = make_view(next(iter(arms.values())).marker, quiet=quiet)
    try:
        measure_by_turns(arms, pairs, folder, view)
    except KeyboardInterrupt:  # here, because click would make it exit code 130
        sys.stderr.write(f"stopped; complete runs are kept in {folder}, --output {folder} continues it\n")
        raise typer.Exit(EXIT_BROKEN) from None
    finally:
        view.close()
    return folder


def _configs(system: Path, overrides: Sequence[str] | None) -> list[RunConfig]:
    """A harness YAML file, or each that a run resolved."""
    from harness_llm.config.recorded import load_recorded
    from harness_llm.results.paths import config_file

    if not system.is_dir():
        return read_configs([system], overrides)
    if overrides:
        raise ConfigError("--set changes no recorded run", "Give harness YAML files instead of run folders.")
    files = sorted(config_file(system, "*").parent.glob("*.yaml"))
    if not files:
        raise ConfigError(f"{system}: no run folder: it has no configuration", "Give a run folder.")
    return [load_recorded(path) for path in files]


def _print(comparison: Comparison) -> None:
    for name, run, marker in zip("AB", (comparison.a, comparison.b), comparison.markers, strict=True):
        print_text(f"{name}: {run}" + (f" ({marker})" if marker else ""))
    print_text("What was run otherwise:" if comparison.changed else "Nothing was run otherwise.")
    for what, a, b in comparison.changed[:_SHOWN_CHANGES]:
        print_text(f"  {what}: {a} -> {b}")
    if (more := len(comparison.changed) - _SHOWN_CHANGES) > 0:
        print_text(f"  and {more} more (--json lists them)")
    print_table(comparison.table())
    for note in comparison.notes():
        print_text(f"  {note}")
