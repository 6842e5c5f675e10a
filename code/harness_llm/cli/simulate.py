"""`harness-llm simulate`."""

from __future__ import annotations

import math
from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from harness_llm import terminal
from harness_llm.cli.options import AsJson, RunDirectory  # noqa: TC001 - likewise
from harness_llm.cli.output import EXIT_INVALID, print_json, print_table, print_text
from harness_llm.core import Scenario  # noqa: TC001 - likewise
from harness_llm.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness_llm.tune.fleet_prediction import Prediction, Throughput


_APART = (
    ("--max", "--qps"),
    *(("--offline", other) for other in ("--qps", "--max")),
    *(("--check", other) for other in ("--replicas", "--qps", "--max", "--set")),
)


def simulate_verb(
    run: RunDirectory,
    scenario: Annotated[
        Scenario | None,
        typer.Option(help="Server or Interactive, of a run that has both.", show_default=False),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(help="Replicas; by default as many as the run had.", min=1, show_default=False),
    ] = None,
    qps: Annotated[
        float | None, typer.Option(help="Rate, samples/s; by default that of the run.", show_default=False)
    ] = None,
    highest: Annotated[
        bool,
        typer.Option(
            "--max",
            help="Find the highest rate that is VALID with 90 %, or with less where that gains much.",
        ),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="max_num_seqs=64,128, max_num_batched_tokens=… or kv_tokens=…; repeatable."
        ),
    ] = None,
    speeds: Annotated[
        str | None,
        typer.Option(
            help="Speed of each replica, relative to the run's mean, e.g. 1,1,0.97.", show_default=False
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Predict an Offline run by the same step times.")
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option(help="A real run that is predicted and compared, as it was asked.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict another fleet from the events of a Server or Interactive run; nothing is started."""
    from harness_llm.tune.fleet_prediction import Recorded, marker_of_runs, settings_of

    _require_apart(
        {
            "--replicas": replicas is not None,
            "--qps": qps is not None,
            "--max": highest,
            "--set": bool(settings),
            "--offline": offline,
            "--check": check is not None,
        }
    )
    if qps is not None and not 0 < qps < math.inf:
        raise ConfigError(f"--qps {qps:g}: not a rate above 0", "Give one in samples/s.")
    known = Recorded.read(run, scenario)
    each = _speeds(speeds)
    count = replicas or len(each) or known.replicas
    found: dict[str, Prediction] = {}
    whole: dict[str, Throughput] = {}
    if check is not None and offline:
        whole = dict(zip(("predicted", "measured"), known.beside_offline(check, each), strict=True))
    elif check is not None:
        real = Recorded.read(check, scenario)
        count = real.replicas
        found = dict(zip(("predicted", "measured"), known.beside(real, each), strict=True))
    else:
        others = {"replicas": f"{count}"} if count != known.replicas else {}
        others |= {"speeds": speeds} if speeds else {}
        others |= {"qps": f"{qps:g}"} if qps not in {None, known.qps} else {}
        fleets = {
            name: known.fleet(count, each, limits)
            for name, limits in settings_of(settings or (), known.model.limits, others)
        }
        if offline:
            whole = {name: known.offline(fleet) for name, fleet in fleets.items()}
        for name, fleet in fleets.items() if not offline else ():
            try:
                found[name] = known.highest(fleet) if highest else known.predict(fleet, qps or known.qps)
            except EngineError as error:
                terminal.say(f"{name}: {error.message}")
        if highest or offline:  # best first
            found = dict(sorted(found.items(), key=lambda pair: -pair[1].tokens_per_s))
            whole = dict(sorted(whole.items(), key=lambda pair: -pair[1].tokens_per_s))
    marker = marker_of_runs(run, *filter(None, [check]))
    if as_json:
        predictions = {name: _json(one) for name, one in (whole or found).items()}
        print_json({"run": run, "marker": marker, "replicas": count, "predictions": predictions})
    elif whole or found:
        _print_offline(whole, marker) if offline else _print(found, marker)
        print_text(f"step times fitted to {known.model.unexplained:.1%} of {known.seen.done.sum():,} answers")
    if not (whole or found):
        raise typer.Exit(EXIT_INVALID)


def _json(prediction: Prediction | Throughput) -> object:
    import msgspec

    return msgspec.to_builtins(prediction)


def _print(found: Mapping[str, Prediction], marker: str) -> None:
    from rich.table import Table

    from harness_llm.tune.fleet_prediction import SURE

    columns = (
        "",
        "samples/s",
        "tokens/s",
        "TTFT p50",
        "p99 ms",
        "TPOT p50",
        "p99 ms",
        "over",
        "allowed",
        "P(VALID)",
    )
    table = Table(*columns, padding=(0, 0), title=terminal.shown(marker) or None, title_justify="left")
    table.columns[0].overflow = "fold"  # what tells the rows apart is never cut
    for name, one in found.items():
        times = [f"{1000 * value:,.1f}" for value in (*one.ttft_s, *one.tpot_s)]
        p_valid = "" if one.p_valid is None else f"{one.p_valid:.0%}"
        over = f"{one.over[0]} and {one.over[1]}"
        table.add_row(
            name, f"{one.qps:.4g}", f"{one.tokens_per_s:,.1f}", *times, over, str(one.allowed), p_valid
        )
    print_table(table)
    for name, one in found.items():
        if one.confidence is not None and one.confidence < SURE:
            print_text(
                f"{name}: the highest rate that is VALID with {one.confidence:.0%}; with {SURE:.0%} "
                "it is far lower, or there is none"
            )


def _print_offline(found: Mapping[str, Throughput], marker: str) -> None:
    from rich.table import Table

    columns = ("", "samples/s", "tokens/s", "samples", "seconds", "of the steady rate")
    table = Table(*columns, title=terminal.shown(marker) or None, title_justify="left")
    for name, one in found.items():
        figures = (f"{one.samples_per_s:.4g}", f"{one.tokens_per_s:,.1f}", f"{one.samples:,}")
        table.add_row(name, *figures, f"{one.seconds:,.1f}", f"{one.steady_share:.1%}")
    print_table(table)


def _require_apart(given: Mapping[str, bool]) -> None:
    """Refuse options that do not go together.

    Raises:
        ConfigError: Two of them were given.
    """
    for one, other in _APART:
        if given[one] and given[other]:
            raise ConfigError(f"{one} and {other}: cannot be used together", f"Leave out {other}.")


def _speeds(text: str | None) -> tuple[float, ...]:
    """The speed of each replica; empty where none are given.

    Raises:
        ConfigError: They are not numbers.
    """
    if text is None:
        return ()
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = ()
    if not found or not all(0 < speed < 1000 for speed in found):
        raise ConfigError(f"--speeds {text}: not numbers above 0", "Write 1,1,0.97 for three replicas.")
    return found
