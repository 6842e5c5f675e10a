"""report.png and report.html of a power study, from its two CSV files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from harness_llm.files import write_atomically
from harness_llm.power.recommendation import (
    Advice,
    Choice,
    Objective,
    choices_of,
    notes_on,
    read_stats,
    recommend,
)
from harness_llm.power.stats_files import INFERENCE_CSV, TRAINING_CSV, as_csv
from harness_llm.report.marks import BLUE, GREEN, GREY, RED, Spec, axis_x, layer, rows
from harness_llm.study.estimates import curve
from harness_llm.study.pages import Figure, Grid, write_page, write_png

_WIDTH, _HEIGHT = 480, 150
_POINTS = 100
_LINE = 17
_SCENARIOS = (("Inference", INFERENCE_CSV), ("Training", TRAINING_CSV))
_CHARTS: tuple[tuple[str, str, Callable[[Choice], float | None]], ...] = (
    ("Tokens per Second", "tokens/s", lambda it: it.tokens_per_s.value),
    ("Temperature", "°C", lambda it: it.means["temperature"]),
    ("GPU Utilization", "%", lambda it: it.means["gpu_utilization"]),
    ("Memory Utilization", "%", lambda it: it.means["memory_utilization"]),
    ("Total Time", "min", lambda it: it.minutes),
    ("Energy per Token", "J", lambda it: it.joules.value if it.joules and it.is_sound else None),
)
_COLUMNS = ("tokens/s", "J/token", "95 %", "W", "°C", "MHz", "cap binds", "verdict")


def write_power_report(folder: Path, objective: Objective = "energy") -> list[str]:
    """Write report.png, report.html and two summaries beside the CSV files; what was found.

    Raises:
        FolderError: A CSV file is missing.
    """
    files = {name: read_stats(folder / file) for name, file in _SCENARIOS}
    choices = {name: choices_of(found) for name, found in files.items()}
    advice = {name: recommend(own, objective) for name, own in choices.items() if own}
    marker: str = next((row.get("marker") or "" for found in files.values() for row in found), "")
    for name, file in _SCENARIOS:
        summary = folder / file.replace("stats", "summary")
        write_atomically(summary, as_csv(_SUMMARY, [_summary(choice) for choice in choices[name]]))
    lines = _sentences(choices, advice)
    write_png(Figure("report", _picture(choices, advice, lines, marker)), folder)
    tables = [
        Grid(name, ("setting", *_COLUMNS), [_row(it) for it in own]) for name, own in choices.items() if own
    ]
    figures = [Figure(name, _column(name, own, advice.get(name))) for name, own in choices.items() if own]
    figures += [
        Figure(f"pareto_{name}", _pareto(name, own)) for name, own in choices.items() if _has_energy(own)
    ]
    notes = [f"{name}: {note}" for name, own in choices.items() for note in notes_on(own)]
    energy = "Energy is that of the boards by their own counters, not MLPerf Power."
    write_page(
        folder / "report.html", "Power, speed and energy", marker, [*lines, *notes, energy], tables, figures
    )
    return lines


_SUMMARY = (
    "max_watt", "tokens_per_sec", "power_draw", "temperature", "gpu_utilization", "memory_utilization",
    "total_time_min", "energy_consumption_watt_min", "energy_per_token", "energy_per_token_low",
    "energy_per_token_high", "trials",
)  # fmt: skip


def _summary(choice: Choice) -> dict[str, Any]:
    joules = choice.joules
    return {
        **choice.means,
        "max_watt": choice.value,
        "tokens_per_sec": choice.tokens_per_s.value,
        "total_time_min": choice.minutes,
        "energy_consumption_watt_min": choice.watt_minutes,
        "energy_per_token": joules and joules.value,
        "energy_per_token_low": joules and joules.low,
        "energy_per_token_high": joules and joules.high,
        "trials": len(choice.rate),
    }


def _has_energy(choices: Sequence[Choice]) -> bool:
    return any(choice.energy for choice in choices)


def _sentences(choices: dict[str, list[Choice]], advice: dict[str, Advice]) -> list[str]:
    lines = [f"{name}: {found.words}." for name, found in advice.items()]
    lines += [
        f"{name}: on the front of tokens/s and J/token: {', '.join(it.name for it in found.front)}; each "
        "other setting whose energy is sound is slower and uses more energy than one of these."
        for name, found in advice.items()
        if 0 < len(found.front) < sum(it.is_sound for it in choices[name])
    ]
    if not any(choice.means["power_draw"] for own in choices.values() for choice in own):
        lines.append("No power was measured: no GPU, or none whose driver tells.")
    return lines


def _row(choice: Choice) -> list[object]:
    joules, means = choice.joules, choice.means
    spread = "" if joules is None or joules.low is None else f"{joules.low:.4g} to {joules.high:.4g}"
    return [
        choice.name, choice.tokens_per_s.value, joules and joules.value, spread, means["power_draw"],
        means["temperature"], means["sm_mhz"], choice.binding, " ".join(sorted(set(choice.verdicts))),
    ]  # fmt: skip


def _picture(
    choices: dict[str, list[Choice]], advice: dict[str, Advice], lines: Sequence[str], marker: str
) -> Spec:
    """The published picture: a title with its time, both scenarios side by side, a summary below."""
    columns = [_column(name, choices[name], advice.get(name)) for name, _ in _SCENARIOS]
    said = ["Recommended Settings:"]
    for name in ("Training", "Inference"):
        choice = advice[name].choice if name in advice else None
        said.append(f"Optimal Max Power for {name}: {choice.name.replace(' W', 'W') if choice else 'none'}")
    said += [
        "Recommendations are based on the lowest energy consumption (Watt-min) for each scenario.",
        "Energy consumption is measured by the card's energy counter, per token."
        if any(map(_has_energy, choices.values()))
        else "No power was measured.",
        *lines,
    ]
    heading = [f"Generated on: {datetime.now():%Y-%m-%d %H:%M:%S}", *([marker.upper()] if marker else [])]
    title = {
        "text": "Performance Metrics and Recommendations",
        "subtitle": heading,
        "fontSize": 20,
        "subtitleFontSize": 13,
        "subtitleColor": RED if marker else "#555",
        "anchor": "middle",
    }
    place = {"type": "text", "align": "left", "baseline": "top", "x": 0, "y": 10}
    text = {
        "mark": {**place, "fontSize": 12, "lineHeight": _LINE},
        "data": {"values": [{"said": said}]},
        "encoding": {"text": {"field": "said"}},
        "width": 2 * _WIDTH,
        "height": _LINE * (len(said) + 1),
    }
    return {"title": title, "vconcat": [{"hconcat": columns, "spacing": 40}, text], "spacing": 20}


def _column(name: str, choices: Sequence[Choice], advice: Advice | None) -> Spec:
    is_load = bool(choices) and not choices[0].is_cap
    x_title = "requests open at once" if is_load else "Max Power (W)"
    what = "Load" if is_load else "Max Power"
    charts = []
    for title, unit, read in _CHARTS:
        values = [(it.value, found) for it in choices if (found := read(it)) is not None]
        chart = _chart(f"{what} vs. {title} ({name})", unit, x_title, values, choices, advice)
        charts.append(chart)
    return {"vconcat": charts, "spacing": 14}


def _chart(
    title: str,
    unit: str,
    x_title: str,
    values: Sequence[tuple[float, float]],
    choices: Sequence[Choice],
    advice: Advice | None,
) -> Spec:
    chosen = advice.choice if advice else None
    note = unit if chosen is None else f"{unit}; green: recommended, {chosen.name}"
    base = {"width": _WIDTH, "height": _HEIGHT, "title": {"text": title, "subtitle": note}}
    if not values:
        empty = {"mark": {"type": "text", "color": GREY}, "data": {"values": [{"said": "not measured"}]},
                 "encoding": {"text": {"field": "said"}}}  # fmt: skip
        return {**base, **empty}
    x, y = [it[0] for it in values], [it[1] for it in values]
    fine = np.linspace(min(x), max(x), _POINTS)
    scale = {"domain": [0, 100]} if unit == "%" else {"zero": False}  # a dip of 1 % is none
    axis_y = {"field": "y", "type": "quantitative", "title": None, "scale": scale}
    across = axis_x("x", x_title)
    across["scale"] = {"zero": False, "padding": 12}
    layers = [
        layer({"type": "line", "color": BLUE}, rows(x=fine, y=curve(x, y)(fine)), x=across, y=axis_y),
        layer(
            {"type": "point", "filled": True, "color": RED, "size": 45}, rows(x=x, y=y), x=across, y=axis_y
        ),
    ]
    if title.split(" vs. ")[1].startswith("Energy"):
        bars = [
            (it.value, it.joules.low, it.joules.high)
            for it in choices
            if it.is_sound and it.joules and it.joules.low is not None
        ]
        ends = {"values": [{"x": value, "y": low, "high": high} for value, low, high in bars]}
        rule = layer({"type": "rule", "color": RED}, x=across, y=axis_y, y2={"field": "high"})
        layers.append({"data": ends, **rule})
    if chosen is not None:
        best = [it for it in values if it[0] == chosen.value]
        dot = {"type": "point", "filled": True, "color": GREEN, "size": 130}
        layers.append(
            layer(dot, rows(x=[it[0] for it in best], y=[it[1] for it in best]), x=across, y=axis_y)
        )
    return {**base, "layer": layers}


def _pareto(name: str, choices: Sequence[Choice]) -> Spec:
    known = [it for it in choices if it.joules]
    values = [
        {"x": it.tokens_per_s.value, "y": it.joules.value, "name": it.name} for it in known if it.joules
    ]
    across = axis_x("x", "tokens/s")
    across["scale"] = {"zero": False, "padding": 30}
    axis_y = {"field": "y", "type": "quantitative", "title": None, "scale": {"zero": False, "padding": 15}}
    return {
        "width": _WIDTH,
        "height": 220,
        "title": {"text": f"Speed and Energy ({name})", "subtitle": "J/token against tokens/s"},
        "data": {"values": values},
        "layer": [
            layer({"type": "line", "color": GREY, "strokeDash": [3, 3]}, x=across, y=axis_y),
            layer({"type": "point", "filled": True, "color": BLUE}, x=across, y=axis_y),
            layer({"type": "text", "dy": -9}, x=across, y=axis_y, text={"field": "name"}),
        ],
    }
