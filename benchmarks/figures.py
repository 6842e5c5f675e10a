"""What the benchmarks share: a measured figure beside its target, and the machine it was measured on."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psutil

from harness_llm.system.detect import detect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from harness_llm.system.facts import Accelerator

__all__ = ["INTERRUPTED", "Figure", "Machine", "report", "write_conf"]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

_LOOK_S = 2.0
_QUIET_CORES = 0.25  # more, and other processes decide the figures of a small machine
_ROW = "{:<{name}}  {:>{value}}  {:>{target}}  {}"


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        name: What was measured, as a phrase.
        value: The number.
        unit: Its unit; empty for a ratio.
        target: What it must reach; None for a number that only explains another one.
        is_limit: Whether the target must not be exceeded, rather than reached.
        digits: Decimals shown.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    is_limit: bool = False
    digits: int = 0

    @property
    def is_met(self) -> bool:
        """Whether the target is met; a figure without one is."""
        if self.target is None:
            return True
        return self.value <= self.target if self.is_limit else self.value >= self.target

    @property
    def verdict(self) -> str:
        """`met`, `MISSED`, or empty without a target."""
        return "" if self.target is None else "met" if self.is_met else "MISSED"

    def shown(self, number: float) -> str:
        """A number in this figure's form, e.g. `2.00 GiB`."""
        return f"{number:,.{self.digits}f} {self.unit}".rstrip()

    @property
    def shown_target(self) -> str:
        """The target with its direction, or empty."""
        return "" if self.target is None else f"{'<=' if self.is_limit else '>='} {self.shown(self.target)}"


class Machine:
    """Where and when it is measured; make it before anything of the benchmark runs."""

    def __init__(self) -> None:
        host = detect()
        self._facts: dict[str, Any] = {
            "cpu": host.cpu.model or platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "accelerators": [_full_name(device) for device in host.accelerators],
            "python": platform.python_version(),
            "started_utc": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "load_average_before": os.getloadavg()[0],
            "cores_busy_before": _cores_busy(),
        }

    def facts(self) -> dict[str, Any]:
        """What is known once everything of the benchmark has ended; was it quiet before and after?"""
        after = _cores_busy()
        is_quiet = max(float(self._facts["cores_busy_before"]), after) <= _QUIET_CORES
        return {**self._facts, "cores_busy_after": after, "is_quiet": is_quiet}


def _full_name(device: Accelerator) -> str:
    """Vendor and name; most libraries give a name that begins with the vendor's."""
    return device.name if device.name.startswith(device.vendor) else f"{device.vendor} {device.name}"


def _cores_busy() -> float:
    """How many cores all processes of the machine keep busy, mean of two seconds."""
    percent = psutil.cpu_percent(interval=_LOOK_S)
    return round(percent / 100 * (psutil.cpu_count() or 1), 2)


def report(
    title: str,
    figures: Sequence[Figure],
    machine: Mapping[str, Any],
    details: Mapping[str, Any],
    *,
    as_json: bool,
) -> int:
    """Print figures as a table, or as one JSON object; returns the exit code, 1 if a target is missed.

    Args:
        title: What was measured on what.
        figures: In the order to show.
        machine: From `Machine.facts`.
        details: Further values, for JSON alone.
        as_json: Print JSON.
    """
    if as_json:
        rows = [
            {"name": f.name, "value": f.value, "unit": f.unit, "target": f.target, "met": f.is_met}
            for f in figures
        ]
        print(json.dumps({"title": title, "figures": rows, "machine": dict(machine), **details}, indent=2))
    else:
        _print_table(title, figures, machine)
    return 0 if all(figure.is_met for figure in figures) else 1


def _print_table(title: str, figures: Sequence[Figure], machine: Mapping[str, Any]) -> None:
    names = [figure.name for figure in figures]
    values = [figure.shown(figure.value) for figure in figures]
    targets = [figure.shown_target for figure in figures]
    widths = {
        "name": max(map(len, ["figure", *names])),
        "value": max(map(len, ["measured", *values])),
        "target": max(map(len, ["target", *targets])),
    }
    print(f"\n{title}\n")
    print(_ROW.format("figure", "measured", "target", "", **widths).rstrip())
    for figure, value, target in zip(figures, values, targets, strict=True):
        print(_ROW.format(figure.name, value, target, figure.verdict, **widths).rstrip())
    devices = ", ".join(machine["accelerators"]) or "no accelerator"
    print(
        f"\n{machine['started_utc']}, {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['memory_gib']} GiB, {devices}, Python {machine['python']}\n"
        f"load average before: {machine['load_average_before']:.2f}; cores busy with other processes: "
        f"{machine['cores_busy_before']:.2f} before, {machine['cores_busy_after']:.2f} after"
    )
    if not machine["is_quiet"]:
        print("This machine was busy with other processes: these figures say little about the harness.")


def write_conf(path: Path, model: str, settings: Mapping[str, float]) -> Path:
    """Write a user.conf with token latencies on; keys of `settings` as `Scenario.key`; returns the path."""
    lines = [f"{model}.*.use_token_latencies = 1"]
    lines += [f"{model}.{key} = {value}" for key, value in settings.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
