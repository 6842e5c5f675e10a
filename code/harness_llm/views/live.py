"""The live view: one table while stdout is a terminal, plain lines otherwise.

It is never silent for 10 s. Where there is nothing to count, as while a model loads, a plain line says how
long that has taken.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness_llm.terminal import shown
from harness_llm.views.progress import Percentiles, TestProgress

_PLAIN_INTERVAL_S = 8.0  # between lines on a running test
_STAGE_INTERVALS_S = (2.0, 8.0)  # before the first and every further line on another stage
_NARROWEST = 60  # columns that a table needs
_QUIET_WORTH_SAYING_S = 15.0


class View(Protocol):
    """What the supervisor shows while it runs; `tick` comes several times a second."""

    def say(self, line: str) -> None:
        """Something happened that stays worth reading."""

    def tick(self, stage: str, running: Sequence[TestProgress]) -> None:
        """What happens now, and how each test goes that runs now."""

    def close(self) -> None:
        """The run is over."""


def make_view(marker: str, *, quiet: bool = False, style: str = "auto") -> View:
    """The view that was asked for, or the one that suits stdout.

    Args:
        marker: Shown wherever a number is: `unofficial`, `simulated, not a result`, or empty.
        quiet: Write to stderr, because stdout is for `--json`.
        style: `rich`, a table that is drawn anew; `plain`, a line every 8 s; `none`; `auto` draws a table
            where a terminal can show it and NO_COLOR does not ask for plain text.
    """
    if style == "none":
        return NoView()
    forced = True if style == "rich" else None
    console = Console(stderr=quiet, highlight=False, markup=False, emoji=False, force_terminal=forced)
    can_draw = console.is_terminal and not console.is_dumb_terminal and console.width >= _NARROWEST
    if style == "rich" or (style == "auto" and can_draw and not os.environ.get("NO_COLOR")):
        return RichView(console, marker)
    return PlainView(marker, quiet=quiet)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    return f"{minutes}:{rest:02d}"


def _latency(name: str, times: Percentiles, limit_ms: float | None, room: str) -> str:
    median, tail = times.at(50), times.at(99)
    if median is None or tail is None:
        return f"{name} -"
    text = f"{name} p50 {median * 1000:,.0f} p99 {tail * 1000:,.0f}"
    return f"{text} of {limit_ms:,.0f} ms, {room}" if limit_ms else f"{text} ms"


def _latencies(progress: TestProgress) -> list[str]:
    if progress.test.ttft_limit_ms is None and progress.ttft.at(50) is None:
        return []
    ttft_room, tpot_room = (
        f"{over:,} over, {progress.allowed:,} allowed" for over in (progress.ttft_over, progress.tpot_over)
    )
    return [
        _latency("TTFT", progress.ttft, progress.test.ttft_limit_ms, ttft_room),
        _latency("TPOT", progress.tpot, progress.test.tpot_limit_ms, tpot_room),
    ]


def _rates(progress: TestProgress) -> str:
    return f"{progress.tokens_per_s_now:,.1f} now, {progress.tokens_per_s:,.1f} mean"


def _others(progress: TestProgress) -> str:
    """What others hold of the host now; empty where that does not matter."""
    others = progress.others
    if others is None or others.now is None or not others.is_noticeable:
        return ""
    return f"others use {others.now:.1f} of {others.cores} cores"


def describe(progress: TestProgress) -> str:
    """One line on a running test."""
    total = f"/{progress.test.expected:,}" if progress.test.expected else ""
    parts = [
        f"{progress.test.name}: {progress.stage}" if not progress.issued else progress.test.name,
        f"{progress.issued:,} issued, {progress.done:,}{total} done",
        f"tokens/s {_rates(progress)}",
        *_latencies(progress),
        f"elapsed {_duration(progress.elapsed_s)}, about {_duration(progress.left_s)} left",
    ]
    if said := _others(progress):
        parts.append(said)
    if progress.quiet_s > _QUIET_WORTH_SAYING_S:
        parts.append(f"nothing finished for {progress.quiet_s:.0f} s, processes alive")
    return "; ".join(parts)


class NoView:
    """Nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def tick(self, stage: str, running: Sequence[TestProgress]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing to undo."""


class PlainView:
    """A line for each event, and one at least every 8 s."""

    def __init__(self, marker: str, *, quiet: bool = False) -> None:
        self._marker = f" [{marker}]" if marker else ""
        self._out = sys.stderr if quiet else sys.stdout
        self._started = time.monotonic()
        self._last = 0.0
        self._stage = ""
        self._stage_began = 0.0
        self._stage_lines = 0

    def say(self, line: str) -> None:
        """Print it."""
        self._print(line)

    def tick(self, stage: str, running: Sequence[TestProgress]) -> None:
        """Print the state if it is time for it."""
        now = time.monotonic()
        is_new = stage != self._stage
        if is_new:
            self._stage, self._stage_began, self._stage_lines = stage, now, 0
        if running:
            if is_new or now - self._last >= _PLAIN_INTERVAL_S:
                for progress in running:
                    self._print(describe(progress) + self._marker)
            return
        interval = _STAGE_INTERVALS_S[min(self._stage_lines, len(_STAGE_INTERVALS_S) - 1)]
        if now - max(self._last, self._stage_began) >= interval:
            self._stage_lines += 1
            self._print(f"{stage}, {_duration(now - self._stage_began)} so far")

    def close(self) -> None:
        """Nothing to undo."""

    def _print(self, line: str) -> None:
        self._last = time.monotonic()
        elapsed = _duration(self._last - self._started)
        # Whoever listened may be gone (a closed pipe, a full disk): no reason to lose a measurement.
        with contextlib.suppress(OSError):
            self._out.write(shown(f"[{elapsed:>6}] {line}") + "\n")
            self._out.flush()


class RichView:
    """A table that is drawn anew twice a second."""

    def __init__(self, console: Console, marker: str) -> None:
        self._marker = marker
        self._started = time.monotonic()
        self._drawn = 0.0
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def say(self, line: str) -> None:
        """Print it above the table."""
        elapsed = _duration(time.monotonic() - self._started)
        self._live.console.print(Text(shown(f"[{elapsed:>6}] {line}")))

    def tick(self, stage: str, running: Sequence[TestProgress]) -> None:
        """Draw the state."""
        now = time.monotonic()
        if now - self._drawn < 0.5:
            return
        self._drawn = now
        head = Text(shown(f"{_duration(now - self._started):>7}  {stage}"), style="bold")
        self._live.update(Group(head, *map(self._table, running)))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def _table(self, progress: TestProgress) -> Table:
        title = shown(f"{progress.test.name}  {self._marker}")
        table = Table(title=title, title_justify="left", show_header=False)
        total = f" of {progress.test.expected:,}" if progress.test.expected else ""
        table.add_row("samples", f"{progress.issued:,} issued, {progress.done:,}{total} done")
        table.add_row("tokens/s", _rates(progress))
        for text in _latencies(progress):
            name, _, rest = text.partition(" ")
            table.add_row(name, rest)
        table.add_row(
            "time", f"elapsed {_duration(progress.elapsed_s)}, about {_duration(progress.left_s)} left"
        )
        if said := _others(progress):
            table.add_row("host", said)
        if progress.quiet_s > _QUIET_WORTH_SAYING_S:
            table.add_row("quiet", f"nothing finished for {progress.quiet_s:.0f} s; processes alive")
        return table
