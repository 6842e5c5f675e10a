"""`harness-llm run`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness_llm import terminal
from harness_llm.cli.options import AsJson, Configs, Overrides, Tests, ViewStyle, read_configs
from harness_llm.cli.output import EXIT_BROKEN, show_run
from harness_llm.installed import require_installed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_llm.config.harness import RunConfig
    from harness_llm.views.metrics import MetricsServer


_RESULTS = Path("results")


def run_verb(
    config: Configs,
    overrides: Overrides = None,
    test: Tests = None,
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
    no_early_end: Annotated[
        bool,
        typer.Option(
            "--no-early-end",
            help="Measure on where the run cannot be VALID any more; short for "
            "--set harness_config.early_end=false.",
        ),
    ] = False,
    view: Annotated[
        ViewStyle,
        typer.Option(
            help="What to show meanwhile. auto: a table on a terminal, else (or with NO_COLOR) lines."
        ),
    ] = ViewStyle.AUTO,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            help="Serve how it goes to Prometheus at http://127.0.0.1:PORT/metrics; 0 takes a free port.",
            min=0,
            max=65535,
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure: every scenario and test given, then scores, then the verdict."""
    set_too = ["harness_config.early_end=false"] if no_early_end else []
    configs = read_configs(config, [*(overrides or ()), *set_too])
    folder = measure(
        configs, test or (), output, resume=resume, quiet=as_json, style=view, metrics_port=metrics_port
    )
    if code := show_run(folder, as_json=as_json):
        raise typer.Exit(code)


def _metrics(port: int) -> MetricsServer:
    require_installed("prometheus_client", extra="metrics")
    from harness_llm.views.metrics import MetricsServer

    return MetricsServer(port)


def measure(
    configs: Sequence[RunConfig],
    tests: Sequence[str],
    output: Path | None = None,
    *,
    resume: bool,
    quiet: bool = False,
    style: ViewStyle = ViewStyle.AUTO,
    metrics_port: int | None = None,
) -> Path:
    """Prepare and measure, with a live view.

    Args:
        configs: One for each scenario.
        tests: Which to run; performance and accuracy where none are named.
        output: The run folder; None for the unfinished one that is continued, or a new one under results/.
        resume: Continue an unfinished run.
        quiet: Keep stdout for JSON.
        style: What the live view looks like.
        metrics_port: Where Prometheus may ask how it goes; None serves nothing, 0 takes a free port.

    Returns:
        The run folder.

    Raises:
        HarnessError: A setting is wrong, or the run broke.
        typer.Exit: With 3, if the user stopped it.
    """
    from harness_llm.run.execute import execute, find_unfinished
    from harness_llm.run.plan import TESTS
    from harness_llm.run.prepare import prepare
    from harness_llm.views.live import make_view

    prepared = prepare(configs, tuple(tests or TESTS))
    unfinished = find_unfinished(prepared, _RESULTS) if resume and output is None else None
    started = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder = output or unfinished or _RESULTS / f"{prepared.benchmark.name}_{started}"
    feeds = [] if metrics_port is None else [_metrics(metrics_port)]
    view = make_view(prepared.marker, quiet=quiet, style=style)
    try:
        for feed in feeds:
            view.say(f"metrics at http://127.0.0.1:{feed.port}/metrics")
        if unfinished is not None:
            view.say(f"continuing {unfinished}")
        execute(prepared, folder, view, resume=resume, feeds=feeds)
    except KeyboardInterrupt:
        terminal.say(f"stopped; what was measured is kept in {folder}, --resume continues it")
        raise typer.Exit(EXIT_BROKEN) from None
    finally:
        view.close()
    return folder
