"""`harness-llm watch`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness_llm.cli.options import RunDirectory, ViewStyle  # noqa: TC001 - typer reads the annotations at run time


def watch_verb(
    run_folder: RunDirectory,
    view: Annotated[
        ViewStyle, typer.Option(help="How to show it. auto: a screen on a terminal, else lines.")
    ] = ViewStyle.AUTO,
) -> None:
    """Watch a run from another terminal, or see how one went that ended or was killed."""
    from harness_llm.views.live import make_view
    from harness_llm.views.run_summary import record_of
    from harness_llm.views.watching import follow

    shown = make_view(record_of(run_folder).marker, style=view, replays=True)
    try:
        follow(run_folder, shown)
    except KeyboardInterrupt:
        pass  # the usual way to stop watching; the run is not touched
    finally:
        shown.close()
