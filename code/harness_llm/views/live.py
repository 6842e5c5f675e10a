"""The live view: a screen while stdout is a terminal, plain lines otherwise.

It is never silent for 10 s. Where there is nothing to count, as while a model loads, a plain line says how
long that has taken.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness_llm.results.live_records import LiveRecord
from harness_llm.terminal import shown
from harness_llm.views.live_words import describe, duration
from harness_llm.views.screen import screen
from harness_llm.views.so_far import RunSoFar

_PLAIN_INTERVAL_S = 8.0  # between lines on a running test
_STAGE_INTERVALS_S = (2.0, 8.0)  # before the first and every further line on another stage
_NARROWEST = 60  # columns that a screen needs
_LEAST_BETWEEN_S = 0.2  # two drawings
_SLACK_S = 0.5  # of records that come once a second


class View(Protocol):
    """What the supervisor shows while it runs."""

    def say(self, line: str) -> None:
        """Something happened that stays worth reading."""

    def tick(self, record: LiveRecord) -> None:
        """How it goes; about once a second, and when a test ends."""

    def close(self) -> None:
        """The run is over."""


def make_view(marker: str, *, quiet: bool = False, style: str = "auto", replays: bool = False) -> View:
    """The view that was asked for, or the one that suits stdout.

    Args:
        marker: Shown wherever a number is: `unofficial`, `simulated, not a result`, or empty.
        quiet: Write to stderr, because stdout is for `--json`.
        style: `rich`, a screen that is redrawn; `plain`, a line every 8 s; `none`; `auto` draws a screen
            where a terminal can show it and NO_COLOR does not ask for plain text.
        replays: Also print what the records say was said, and leave the last screen: for a run of others.
    """
    if style == "none":
        return NoView()
    forced = True if style == "rich" else None
    out = sys.stderr if quiet else sys.stdout  # whoever redirects stdout later does not mean the view
    console = Console(file=out, highlight=False, markup=False, emoji=False, force_terminal=forced)
    can_draw = console.is_terminal and not console.is_dumb_terminal and console.width >= _NARROWEST
    if style == "rich" or (style == "auto" and can_draw and not os.environ.get("NO_COLOR")):
        return RichView(console, marker, replays=replays)
    return PlainView(marker, quiet=quiet, replays=replays)


class NoView:
    """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def tick(self, record: LiveRecord) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing to undo."""


class PlainView:
    """A line for each event, and one at least every 8 s."""

    def __init__(self, marker: str, *, quiet: bool = False, replays: bool = False) -> None:
        self._marker = f" [{marker}]" if marker else ""
        self._out = sys.stderr if quiet else sys.stdout
        self._started = time.monotonic()
        self._replays = replays
        self._run = RunSoFar()
        self._said_s = self._stage_began_s = 0.0
        self._stage_lines = 0

    def say(self, line: str) -> None:
        """Print it."""
        self._said_s = time.monotonic()
        self._print(line)

    def tick(self, record: LiveRecord) -> None:
        """Print the state if it is time for it."""
        is_new = record.stage != self._run.last.stage
        self._run.take(record)
        for line in record.said if self._replays else ():
            self._print(line)
        for warning in record.warnings:
            self._print(f"warning: {warning.text}")
        if is_new:
            self._stage_began_s, self._stage_lines = record.at_s, 0
        if self._run.running:
            if is_new or record.at_s - self._said_s >= _PLAIN_INTERVAL_S - _SLACK_S:
                for test in self._run.running:
                    self._print(describe(test, self._run) + self._marker)
                self._said_s = record.at_s
            return
        interval = _STAGE_INTERVALS_S[min(self._stage_lines, len(_STAGE_INTERVALS_S) - 1)]
        if record.at_s - max(self._said_s, self._stage_began_s) >= interval - _SLACK_S:
            self._stage_lines += 1
            self._said_s = record.at_s
            so_far = duration(record.at_s - self._stage_began_s)
            self._print(f"{record.stage}, {so_far} so far")

    def close(self) -> None:
        """How each test was last, where others ran it."""
        for test in self._run.tests.values() if self._replays else ():
            self._print(describe(test, self._run) + self._marker)

    def _print(self, line: str) -> None:
        # Whoever listened may be gone (a closed pipe, a full disk): no reason to lose a measurement.
        with contextlib.suppress(OSError):
            self._out.write(_stamped(line, self._started, self._run if self._replays else None) + "\n")
            self._out.flush()


class RichView:
    """A screen, redrawn with each record.

    Args:
        console: Where.
        marker: As of `make_view`.
        replays: As of `make_view`.
    """

    def __init__(self, console: Console, marker: str, *, replays: bool = False) -> None:
        self._marker = marker
        self._started = time.monotonic()
        self._run = RunSoFar()
        self._console = console
        self._replays = replays
        self._drawn_s = -_LEAST_BETWEEN_S
        self._live = Live(console=console, auto_refresh=False, transient=not replays)
        self._live.start()

    def say(self, line: str) -> None:
        """Print it above the screen."""
        self._print(line)

    def tick(self, record: LiveRecord) -> None:
        """Draw the state; what comes faster than anybody looks is only taken in."""
        self._run.take(record)
        for line in record.said if self._replays else ():
            self._print(line)
        if time.monotonic() - self._drawn_s >= _LEAST_BETWEEN_S:
            self._draw()

    def close(self) -> None:
        """Leave the terminal as it was, or the last screen."""
        if self._replays:
            self._draw()
        self._live.stop()

    def _draw(self) -> None:
        self._drawn_s = time.monotonic()
        size = self._console.size
        self._live.update(screen(self._run, self._marker, size.width, size.height), refresh=True)

    def _print(self, line: str) -> None:
        self._console.print(Text(_stamped(line, self._started, self._run if self._replays else None)))


def _stamped(line: str, started_s: float, replayed: RunSoFar | None) -> str:
    """A line with the time since a view began, or of the run that is shown again.

    Not of the run as it is measured: `tune --try` shows fleet after fleet, each with a clock of its own.
    """
    elapsed_s = time.monotonic() - started_s if replayed is None else replayed.elapsed_s
    return shown(f"[{duration(elapsed_s):>6}] {line}")
