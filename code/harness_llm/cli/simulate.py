"""`harness-llm simulate`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from harness_llm.cli.options import AsJson, RunDirectory  # noqa: TC001 - likewise
from harness_llm.cli.output import print_json, print_table, print_text
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness_llm.tune.fleet_prediction import Prediction


def simulate_verb(
    run: RunDirectory,
    replicas: Annotated[
        int | None,
        typer.Option(help="Replicas; by default as many as the run had.", min=1, show_default=False),
    ] = None,
    qps: Annotated[
        float | None, typer.Option(help="Rate, samples/s; by default that of the run.", show_default=False)
    ] = None,
    highest: Annotated[
        bool, typer.Option("--max", help="Find the highest rate that is VALID with 90 %, for each setting.")
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
    check: Annotated[
        Path | None, typer.Option(help="A real run that is predicted and compared.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict another fleet from the events of a Server or Interactive run; nothing is started."""
    from harness_llm.tune.fleet_prediction import Prediction, Recorded, settings_of

    if qps is not None and (highest or not qps > 0):
        raise ConfigError("--qps must be above 0, and not be given with --max", "Give one of them.")
    known = Recorded.read(run)
    each = _speeds(speeds, replicas)
    count = replicas or len(each) or known.replicas
    found: dict[str, Prediction] = {}
    if check is not None:
        real = Recorded.read(check)
        model = known.fleet(real.replicas, each, real.model.limits)
        if real.future.samples != known.future.samples:
            raise ConfigError(f"{check}: has another data set than {run}", "Give runs of one data set.")
        found["predicted"] = Prediction.of(model.run(*real.future.asked(real.qps)), real.future, real.qps)
        found["measured"] = Prediction.of(real.seen, real.future, real.qps)
    else:
        for name, limits in settings_of(settings or (), known.model.limits):
            model = known.fleet(count, each, limits)
            rate = (
                model.best(known.future, 0.9, known.qps * count / known.replicas)
                if highest
                else qps or known.qps
            )
            found[name] = known.predict(model, rate)
        found = dict(sorted(found.items(), key=lambda pair: -pair[1].tokens_per_s)) if highest else found
    if as_json:
        print_json(
            {"run": run, "replicas": count, "predictions": {name: _json(one) for name, one in found.items()}}
        )
        return
    _print(found)
    print_text(f"step times fitted to {known.model.unexplained:.1%} of {known.seen.done.sum():,} answers")


def _json(prediction: Prediction) -> object:
    import msgspec

    return msgspec.to_builtins(prediction)


def _print(found: Mapping[str, Prediction]) -> None:
    from rich.table import Table

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
    table = Table(*columns)
    for name, one in found.items():
        times = [f"{1000 * value:,.1f}" for value in (*one.ttft_s, *one.tpot_s)]
        p_valid = "" if one.p_valid is None else f"{one.p_valid:.0%}"
        over = f"{one.over[0]} and {one.over[1]}"
        table.add_row(
            name, f"{one.qps:.4g}", f"{one.tokens_per_s:,.1f}", *times, over, str(one.allowed), p_valid
        )
    print_table(table)


def _speeds(text: str | None, replicas: int | None) -> tuple[float, ...]:
    """The speed of each replica; empty where none are given.

    Raises:
        ConfigError: They are not numbers, or not one per replica.
    """
    if text is None:
        return ()
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = ()
    if not found or not all(0 < speed < 1000 for speed in found) or len(found) != (replicas or len(found)):
        raise ConfigError(f"--speeds {text}: not one number above 0 for each replica", "Write 1,1,0.97.")
    return found
