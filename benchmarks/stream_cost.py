"""What the live stream costs: Offline tokens/s with it over those without, by turns, with an instant engine.

With it: records, live.jsonl, a screen and a metrics server; without it: no record is made. An instant engine
leaves nothing to wait for, so whatever the stream takes from the harness is missing in tokens/s.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "code"))

import numpy as np
from benchmarks.figures import INTERRUPTED, Figure, Machine, report
from benchmarks.plumbing import Load, run_test
from rich.console import Console

from harness_llm.compare.intervals import of_mean
from harness_llm.errors import HarnessError
from harness_llm.fleet.live_recorder import LiveRecorder
from harness_llm.views.live import NoView, RichView, View
from harness_llm.views.metrics import MetricsServer
from harness_llm.views.telling import ToldRun

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHAPE = "24576:100:300"
_MOST_COST = 0.005


def samples_per_s(samples: int, folder: Path, *, has_stream: bool) -> float:
    """Offline samples/s as LoadGen reports it.

    Args:
        samples: Of the one query.
        folder: Where the run goes; made.
        has_stream: Whether records are made, and shown and kept in every way.

    Raises:
        HarnessError: The run broke.
    """
    load, view = Load(samples, 1.0, 1.0, _SHAPE), _screen() if has_stream else NoView()
    metrics = MetricsServer(0) if has_stream else None
    silent = nullcontext() if has_stream else mock.patch.object(LiveRecorder, "is_due", lambda *_: False)
    try:
        with silent, ToldRun(view, [] if metrics is None else [metrics]) as told:
            return run_test("Offline", load, {}, folder, told).number("samples_per_second")
    finally:
        view.close()


def _screen() -> View:
    """A screen of 80 by 24 that nobody looks at."""
    return RichView(Console(file=io.StringIO(), force_terminal=True, width=80, height=24), "simulated")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns 0, 1 if it costs too much, or the exit code of what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--samples", type=int, default=2_000_000, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if options.pairs < 2 or options.samples < 1:
        parser.error("--pairs must be at least 2, --samples at least 1")
    machine, ratios = Machine(), []
    try:
        with tempfile.TemporaryDirectory(prefix="harness-llm-stream-") as folder:
            for pair in range(options.pairs):
                order = (True, False) if pair % 2 else (False, True)
                rates = {
                    has: samples_per_s(options.samples, Path(folder) / f"{pair}_{has}", has_stream=has)
                    for has in order
                }
                ratios.append(rates[True] / rates[False])
                print(f"pair {pair + 1} of {options.pairs}: {ratios[-1]:.4f}", file=sys.stderr)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    logs = np.log(ratios)
    interval = of_mean(logs)
    assert interval is not None
    figures = [
        Figure(
            "tokens/s with the stream / without, mean", math.exp(logs.mean()), "", 1 - _MOST_COST, digits=4
        ),
        Figure("low end of the mean's 95 % interval", math.exp(interval.low), "", digits=4),
        Figure("high end of the mean's 95 % interval", math.exp(interval.high), "", digits=4),
    ]
    title = f"the live stream's cost: {options.pairs} pairs by turns, Offline, instant engine"
    return report(title, figures, machine.facts(), {"ratios": ratios}, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
