"""`harness-llm study`."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness_llm import terminal
from harness_llm.cli.options import AsJson, ViewStyle
from harness_llm.cli.output import EXIT_BROKEN, print_json, print_text
from harness_llm.installed import require_installed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_llm.study.points import Study
    from harness_llm.views.live import View


class StudyKind(StrEnum):
    """The kinds of study."""

    POWER = "power"
    TENANTS = "tenants"


class ObjectiveName(StrEnum):
    """What a power study recommends the least of."""

    ENERGY = "energy"
    EDP = "edp"
    COST = "cost"
    SLOWDOWN = "slowdown"
    SLO = "slo"


def study_verb(
    kind: Annotated[StudyKind, typer.Argument(help="What to study.", show_default=False)],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The study's YAML file.", show_default=False)
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a key of it, e.g. --set trials=1; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Study folder, new or to continue. By default results/study_<kind>_<time>.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Measure nothing; make the report of this study folder again.", show_default=False),
    ] = None,
    objective: Annotated[
        ObjectiveName, typer.Option(help="What to recommend the least of.")
    ] = ObjectiveName.ENERGY,
    set_caps: Annotated[
        bool,
        typer.Option("--set-caps", help="Set the cards' power caps, as knob: cap asks; never without this."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Start nothing; print what would be measured.")
    ] = False,
    view: Annotated[ViewStyle, typer.Option(help="What to show meanwhile.")] = ViewStyle.AUTO,
    as_json: AsJson = False,
) -> None:
    """Measure settings several times over the same loaded engines, and report what they cost and give."""
    require_installed("jinja2", "vl_convert", extra="report")
    from harness_llm.errors import ConfigError
    from harness_llm.views.live import make_view

    if (config is None) == (report is None):
        raise ConfigError(
            "study needs one of --config and --report", "Name the study's YAML file, or a study folder."
        )
    if kind is not StudyKind.POWER and (set_caps or objective is not ObjectiveName.ENERGY):
        raise ConfigError("--set-caps and --objective are of the study power", "Leave them out.")
    if report is not None and (output or overrides or set_caps or dry_run):
        raise ConfigError("--output, --set, --set-caps and --dry-run go with --config", "Leave them out.")
    folder = report or output or Path("results") / f"study_{kind}_{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    if config is not None and kind is StudyKind.TENANTS:
        study, folder = _tenants(config, overrides or (), output, folder)
    elif config is not None:
        study = _power(config, overrides or (), folder, set_caps=set_caps)
    if config is not None:
        if dry_run:
            _print_plan(study, as_json=as_json)
            return
        _measure(study, folder, make_view(study.marker, quiet=as_json, style=view))
    lines = _report(kind, folder, objective)
    if as_json:
        print_json({"study": str(folder), "found": lines})
        return
    for line in lines:
        print_text(line)
    print_text(f"study folder: {folder}\nreport: {folder / 'report.html'}")


def _power(config: Path, overrides: Sequence[str], folder: Path, *, set_caps: bool) -> Study:
    from harness_llm.power.sweep import PowerConfig, PowerStudy
    from harness_llm.study.study_file import read_study

    return PowerStudy(read_study(config, PowerConfig, overrides), folder, set_caps=set_caps)


def _tenants(
    config: Path, overrides: Sequence[str], output: Path | None, default: Path
) -> tuple[Study, Path]:
    """The study, and its folder: the one that was named, else that of the file, else the default."""
    from harness_llm.files import read_text
    from harness_llm.study.study_file import read_study
    from harness_llm.tenants.sharing import TenantsStudy
    from harness_llm.tenants.tenants_file import TenantsConfig

    asked = read_study(config, TenantsConfig, overrides)
    folder = output or asked.out_dir or default
    study = TenantsStudy(asked, folder, read_text(config))
    for note in study.notes:
        terminal.say(f"note: {note}")
    return study, folder


def _print_plan(study: Study, *, as_json: bool) -> None:
    import yaml

    if as_json:
        points = {point.label: dict(point.settings) for point in study.points()}
        print_json({"asked": study.asked(), "trials": study.trials, "points": points})
        return
    print_text(yaml.safe_dump(study.asked(), sort_keys=False).rstrip())
    for point in study.points():
        print_text(f"would measure {study.trials} x {point.label}")


def _measure(study: Study, folder: Path, shown: View) -> None:
    from harness_llm.study.runner import run_study

    try:
        run_study(study, folder, shown)
    except KeyboardInterrupt:
        terminal.say(f"stopped; what was measured is kept in {folder}, --output {folder} continues it")
        raise typer.Exit(EXIT_BROKEN) from None
    finally:
        shown.close()


def _report(kind: StudyKind, folder: Path, objective: ObjectiveName) -> list[str]:
    from harness_llm.study.runner import require_study

    require_study(folder, kind)
    if kind is StudyKind.TENANTS:
        from harness_llm.tenants.tenants_report import write_tenants_report

        return write_tenants_report(folder)
    from harness_llm.power.power_report import write_power_report
    from harness_llm.power.stats_files import write_stats

    return [*write_stats(folder, folder), *write_power_report(folder, objective.value)]
