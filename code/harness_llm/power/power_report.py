"""report.png and report.html of a power study, from its two CSV files."""

from __future__ import annotations

import textwrap
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
)  # fmt: skip
from harness_llm.power.stats_files import INFERENCE_CSV, TRAINING_CSV, as_csv
from harness_llm.report.marks import (
    BLUE,
    GREEN,
    GREY,
    RED,
    Spec,
    axis_x,
    axis_y,
    field,
    layer,
    rows,
    stacked,
)  # fmt: skip
from harness_llm.study.estimates import curve, readable
from harness_llm.study.pages import Figure, Grid, write_page, write_png

_WIDTH, _HEIGHT = 480, 150
_POINTS = 100
_LINE = 17
_LETTERS = 80  # of a line as wide as a column
_SCENARIOS = (("Inference", INFERENCE_CSV), ("Training", TRAINING_CSV))
_SOURCES = {True: "measured by the card's energy counter", False: "the cards' power over time"}
_Read = Callable[[Choice], float | None]


def _joules(choice: Choice) -> float | None:
    return choice.joules.value if choice.joules and choice.is_sound else None


_CHARTS: tuple[tuple[str, str, _Read], ...] = (
    ("Tokens per Second", "tokens/s", lambda it: it.tokens_per_s.value),
    ("Temperature", "°C", lambda it: it.means["temperature"]),
    ("GPU Utilization", "%", lambda it: it.means["gpu_utilization"]),
    ("Memory Utilization", "%", lambda it: it.means["memory_utilization"]),
    ("Total Time", "min", lambda it: it.minutes),
    ("Energy per Token", "J", _joules),
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
    energy = f"Energy is {_SOURCES[_is_counted(choices)]}, not MLPerf Power."
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
        "power_draw": choice.watts,
        "tokens_per_sec": choice.tokens_per_s.value,
        "total_time_min": choice.minutes,
        "energy_consumption_watt_min": choice.watt_minutes,
        "energy_per_token": joules and joules.value,
        "energy_per_token_low": joules and joules.low,
        "energy_per_token_high": joules and joules.high,
        "trials": len(choice.rate),
    }


def _has_energy(choices: Sequence[Choice]) -> bool:
    return any(choice.is_sound for choice in choices)


def _is_counted(choices: dict[str, list[Choice]]) -> bool:
    return any(choice.is_counted for own in choices.values() for choice in own)


def _sentences(choices: dict[str, list[Choice]], advice: dict[str, Advice]) -> list[str]:
    lines = [f"{name}: {found.words}." for name, found in advice.items()]
    lines += [
        f"{name}: on the front of tokens/s and J/token: {', '.join(it.name for it in found.front)}; each "
        "other setting whose energy is sound is slower and uses more energy than one of these."
        for name, found in advice.items()
        if 0 < len(found.front) < sum(it.is_sound for it in choices[name])
    ]
    if not any(choice.watts or choice.energy for own in choices.values() for choice in own):
        lines.append("No power was measured: no GPU, or none whose driver tells.")
    return lines


def _row(choice: Choice) -> list[object]:
    joules, means = choice.joules, choice.means
    spread = ""
    if joules and joules.low is not None and joules.high is not None:
        spread = f"{readable(joules.low)} to {readable(joules.high)}"
    return [
        choice.name, choice.tokens_per_s.value, joules and joules.value, spread, choice.watts,
        means["temperature"], means["sm_mhz"], choice.binding, " ".join(sorted(set(choice.verdicts))),
    ]  # fmt: skip


def _picture(
    choices: dict[str, list[Choice]], advice: dict[str, Advice], lines: Sequence[str], marker: str
) -> Spec:
    """The published picture: a title with its time, both scenarios side by side, a summary below."""
    measured = [name for name, _ in _SCENARIOS if choices[name]] or [name for name, _ in _SCENARIOS]
    columns = [_column(name, choices[name], advice.get(name)) for name in measured]
    said = ["Recommended Settings:"]
    for name in ("Training", "Inference"):
        choice = advice[name].choice if name in advice else None
        told = choice.name.replace(" W", "W") if choice else "none"
        said.append(f"Optimal {'Load' if _is_load(choices[name]) else 'Max Power'} for {name}: {told}")
    said += [
        "Recommendations are based on the lowest energy consumption (Watt-min) for each scenario.",
        f"Energy consumption is {_SOURCES[_is_counted(choices)]}, per token."
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
    said = [part for line in said for part in textwrap.wrap(line, _LETTERS * len(columns))]
    text = {
        "mark": {**place, "fontSize": 12, "lineHeight": _LINE},
        "data": {"values": [{"said": said}]},
        "encoding": {"text": {"field": "said"}},
        "width": len(columns) * _WIDTH,
        "height": _LINE * (len(said) + 1),
    }
    return {"title": title, "vconcat": [{"hconcat": columns, "spacing": 40}, text], "spacing": 20}


def _is_load(choices: Sequence[Choice]) -> bool:
    return bool(choices) and not choices[0].is_cap and choices[0].value > 0


def _column(name: str, choices: Sequence[Choice], advice: Advice | None) -> Spec:
    what = "Load" if _is_load(choices) else "Max Power"
    charts = [
        _chart(f"{what} vs. {title} ({name})", unit, read, choices, advice) for title, unit, read in _CHARTS
    ]
    return stacked(charts)


def _chart(title: str, unit: str, read: _Read, choices: Sequence[Choice], advice: Advice | None) -> Spec:
    chosen = advice.choice if advice else None
    note = unit if chosen is None else f"{unit}; green: recommended, {chosen.name}"
    base = {"width": _WIDTH, "height": _HEIGHT, "title": {"text": title, "subtitle": note}}
    values = {it.value: found for it in choices if (found := read(it)) is not None}
    if not values:
        empty = {"mark": {"type": "text", "color": GREY}, "data": {"values": [{"said": "not measured"}]},
                 "encoding": {"text": {"field": "said"}}}  # fmt: skip
        return {**base, **empty}
    x, y = list(values), list(values.values())
    is_load = _is_load(choices)  # each load is some times the one before it
    between = np.geomspace if is_load else np.linspace
    fine, place = between(x[0], x[-1], _POINTS), np.log if is_load else np.asarray
    across = axis_x("x", "requests open at once" if is_load else "Max Power (W)", zero=False, padding=12)
    across["scale"] |= {"type": "log", "base": 2} if is_load else {}
    across["axis"]["values"] = x
    up = axis_y("y", domain=[0, 100]) if unit == "%" else axis_y("y", zero=False)  # a dip of 1 % is none
    line, dot = {"type": "line", "color": BLUE}, {"type": "point", "filled": True}
    layers = [
        layer(line, rows(x=fine, y=curve(place(x), y)(place(fine))), x=across, y=up),
        layer({**dot, "color": RED, "size": 45}, rows(x=x, y=y), x=across, y=up),
    ]
    if read is _joules:
        known = {it.value: it.joules for it in choices if it.value in values and it.joules}
        ends = [{"x": at, "y": own.low, "high": own.high} for at, own in known.items()
                if own.low is not None and own.high is not None]  # fmt: skip
        layers.append(layer({"type": "rule", "color": RED}, ends, x=across, y=up, y2=field("high")))
    if chosen is not None and chosen.value in values:
        best = [{"x": chosen.value, "y": values[chosen.value]}]
        layers.append(layer({**dot, "color": GREEN, "size": 130}, best, x=across, y=up))
    return {**base, "layer": layers}


def _pareto(name: str, choices: Sequence[Choice]) -> Spec:
    values = [
        {"x": it.tokens_per_s.value, "y": joules, "name": it.name}
        for it in choices
        if (joules := _joules(it)) is not None
    ]
    across = axis_x("x", "tokens/s", zero=False, padding=30)
    up = axis_y("y", zero=False, padding=15)
    return {
        "width": _WIDTH,
        "height": 220,
        "title": {"text": f"Speed and Energy ({name})", "subtitle": "J/token against tokens/s"},
        "data": {"values": values},
        "layer": [
            layer({"type": "line", "color": GREY, "strokeDash": [3, 3]}, x=across, y=up),
            layer({"type": "point", "filled": True, "color": BLUE}, x=across, y=up),
            layer({"type": "text", "dy": -9}, x=across, y=up, text={"field": "name"}),
        ],
    }
