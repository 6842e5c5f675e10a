"""`harness-llm tune`."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness_llm import terminal
from harness_llm.cli.options import AsJson, Overrides, ViewStyle, read_configs
from harness_llm.cli.output import EXIT_BROKEN, EXIT_INVALID, print_json, print_table, print_text
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_llm.config.harness import RunConfig
    from harness_llm.tune.arguments import Combination, Compared
    from harness_llm.tune.tuning import Tuning

_UNITS = {"s": 1, "m": 60, "h": 3600}


def tune_verb(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Harness YAML file of one scenario.", show_default=False)
    ],
    overrides: Overrides = None,
    confidence: Annotated[
        float, typer.Option(help="How sure the run is to be VALID when it starts.", min=0.5, max=0.99)
    ] = 0.9,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Start no further run when the command has run for so long, e.g. 30m.", show_default=False
        ),
    ] = None,
    known: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", help="Run folder of the same engines, to learn from instead of a ramp; repeatable."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Predict the rate by a ramp or by --from; no whole run.")
    ] = False,
    tried: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            help="Engine argument with values, e.g. max_num_seqs=64,128; repeatable. The best is tuned.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Study folder, new or to continue. By default results/tune_<time>.", show_default=False
        ),
    ] = None,
    view: Annotated[ViewStyle, typer.Option(help="What to show meanwhile.")] = ViewStyle.AUTO,
    as_json: AsJson = False,
) -> None:
    """Find the highest rate whose run is VALID, with one load of the engines; the last run is the result."""
    from harness_llm.tune.arguments import ArgumentSearch
    from harness_llm.tune.tries import TRIES
    from harness_llm.tune.tuning import Tuning, Wish
    from harness_llm.views.live import make_view

    wish = Wish(confidence, _seconds(budget), tuple(known or ()), dry_run)
    (read,) = read_configs([config], overrides)
    folder = output or Path("results") / f"tune_{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    shown = make_view(_marker(read), quiet=as_json, style=view)
    compared: list[Compared] = []
    try:
        if tried:
            comparison = ArgumentSearch(
                lambda more: read_configs([config], [*(overrides or ()), *more])[0], folder, wish, shown
            )
            compared = comparison.run(tried)
            best = compared[0]
            read = comparison.configured(best.choice)
            wish = replace(comparison.wish_for(best.choice), tries=(best.folder / TRIES,))
            if not as_json:
                _print_compared(compared, _marker(read))
        tuning = Tuning(read, folder, wish, shown)
        rate = tuning.tune()
    except KeyboardInterrupt:
        terminal.say(f"stopped; what was tried is kept in {folder}, --output {folder} continues it")
        raise typer.Exit(EXIT_BROKEN) from None
    finally:
        shown.close()
    _print(tuning, rate, as_json=as_json, compared=compared)
    if rate is None and not dry_run:
        raise typer.Exit(EXIT_INVALID)


def _print_compared(compared: Sequence[Compared], marker: str) -> None:
    from rich.table import Table

    columns = ("", "simulated, queries/s", "by its own events", "TTFT", "TPOT")
    table = Table(*columns, title=marker or None, title_justify="left")
    for one in compared:
        rates = (one.choice.simulated_qps, one.choice.qps)
        ratios = (one.ttft, one.tpot)
        table.add_row(
            one.choice.label + (f" ({one.choice.problem})" if one.choice.problem else ""),
            *("" if rate is None else f"{rate:.4g}" for rate in rates),
            *("" if ratio is None else f"{ratio - 1:+.1%}" for ratio in ratios),
        )
    print_table(table)
    print_text("TTFT and TPOT: means of the same queries at the same times, against what is configured")
    if chosen := _chosen([one.choice for one in compared]):
        print_text(chosen)


def _chosen(choices: Sequence[Combination]) -> str:
    """Which is best, and whether that is sure; empty where no other has a rate."""
    best, second = choices[0], next((one for one in choices[1:] if one.qps), None)
    if second is None or not best.qps or not second.qps:
        return ""
    lead, chance = best.qps / second.qps - 1, 2 * math.hypot(best.spread, second.spread)
    sure = f"; its lead of {lead:.1%} over {second.label} may be chance, up to {chance:.1%}"
    return f"chosen: {best.label}{'' if lead > chance else sure}"


def tune_all(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Tune each scenario in turn; the configurations with the user.conf that has every rate.

    Raises:
        HarnessError: A setting is wrong, or a run broke.
        typer.Exit: With 1, if no run of a scenario was VALID.
    """
    from harness_llm.tune.tuning import Tuning, Wish
    from harness_llm.views.live import make_view

    tuned = list(configs)
    for number in range(len(configs)):
        harness = tuned[number].harness_config
        folder = Path("results") / f"tune_{harness.benchmark}_{harness.scenario}"
        view = make_view(_marker(tuned[number]))
        try:
            tuning = Tuning(tuned[number], folder, Wish(), view)
            rate = tuning.tune()
        finally:
            view.close()
        _print(tuning, rate, as_json=False)
        if rate is None:
            raise typer.Exit(EXIT_INVALID)
        tuned = [_asked_by(config, tuning.user_conf) for config in tuned]
    return tuned


def _marker(config: RunConfig) -> str:
    """What to write beside every number of a configuration; may be empty."""
    from harness_llm.benchmark import resolve
    from harness_llm.run.prepare import mark_of

    return mark_of([config], resolve(config.harness_config.benchmark))


def _asked_by(config: RunConfig, user_conf: Path) -> RunConfig:
    harness = config.harness_config.model_copy(update={"user_conf": user_conf, "measured_rate": None})
    return config.model_copy(update={"harness_config": harness})


def _print(tuning: Tuning, rate: float | None, *, as_json: bool, compared: Sequence[Compared] = ()) -> None:
    from harness_llm.tune.tuned_words import describe

    found, marker = tuning.found, _marker(tuning.config)
    if as_json:
        import msgspec

        arguments = [
            {
                "label": one.choice.label,
                **msgspec.structs.asdict(one.choice),
                "ttft": one.ttft,
                "tpot": one.tpot,
            }
            for one in compared
        ]
        print_json(
            {
                "marker": marker,
                "target_qps": found.qps if rate is None and found is not None else rate,
                "found": found and asdict(found),
                "arguments": arguments,
                "study": tuning.folder,
                "run": tuning.run,
            }
        )
        return
    mark = f" [{marker}]" if marker else ""
    if found is not None:
        for line in describe(found):
            print_text(line + mark)
    if rate is None and tuning.wish.dry_run:
        print_text(
            f"a dry run: only the starts of runs were measured, if any; they are kept in {tuning.folder}"
            + mark
        )
        return
    if rate is None:
        print_text(f"{tuning.reason}; what was tried: {tuning.folder}{mark}")
        return
    print_text(f"{tuning.scenario}: VALID with target_qps = {rate:.4g}{mark}")
    print_text(f"run folder: {tuning.run}\nuser.conf: {tuning.user_conf}")


def _seconds(text: str | None) -> float:
    """A length of time.

    Raises:
        ConfigError: It is none.
    """
    if text is None:
        return math.inf
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None or not float(match[1]):
        raise ConfigError(f"--budget {text}: not a length of time", "Write it like 90s, 30m or 2h.")
    return float(match[1]) * _UNITS[match[2]]
