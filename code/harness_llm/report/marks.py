"""Pieces that charts are made of, as Vega-Lite has them: rows, axes, layers that look alike everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness_llm.report.phases import Stall
from harness_llm.results.recompute import Integers
from harness_llm.results.sample_rows import Floats

WIDTH = 760
"""Of a chart that stands alone, pixels; on the page it is as wide as the page lets it be."""

BLUE, ORANGE, RED, GREY, GREEN = "#2f6fb0", "#d9730d", "#c62828", "#9aa3ad", "#3a8f5c"
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name, which nothing fetches
_DIGITS = 5
_AXIS_PIXELS = 46  # the same for each, so that times stand below one another

Rows = list[dict[str, float]]
Spec = dict[str, Any]
"""A part of a Vega-Lite specification."""


def rows(**columns: Floats | Integers | Sequence[float]) -> Rows:
    """Columns as rows, each number to five digits; a row with a value that is not finite is left out."""
    table = np.array([np.asarray(column, np.float64) for column in columns.values()]).T
    names = list(columns)
    return [
        {name: float(f"{value:.{_DIGITS}g}") for name, value in zip(names, row, strict=True)}
        for row in table[np.isfinite(table).all(axis=1)].tolist()
    ]


def layer(mark: Spec, values: Rows | None = None, **encoding: Any) -> Spec:
    """Marks of one kind; without values, of the data of the chart that they stand in."""
    data = {} if values is None else {"data": {"values": values}}
    return {**data, "mark": mark, "encoding": encoding}


def axis_x(field: str, title: str, **scale: Any) -> Spec:
    """A horizontal axis."""
    return {**_quantity(field, title, {"nice": False, **scale}), "axis": {"grid": False}}


def axis_y(field: str, form: str | None = None, **scale: Any) -> Spec:
    """A vertical axis without a title, which the chart's own title says."""
    axis: Spec = {"minExtent": _AXIS_PIXELS, "maxExtent": _AXIS_PIXELS, "tickCount": 4}
    axis |= {} if form is None else {"format": form}
    return {**_quantity(field, None, scale), "axis": axis}


def _quantity(field: str, title: str | None, scale: Spec) -> Spec:
    return {"field": field, "type": "quantitative", "title": title, "scale": scale}


def field(name: str) -> Spec:
    """A field beside an axis: an end of a bar."""
    return {"field": name}


def tips(**titles: str) -> list[Spec]:
    """What a pointer reads off a mark: fields by their titles."""
    return [{"field": name, "type": "quantitative", "title": title} for name, title in titles.items()]


def limit_rule(value: float, **axis: Spec) -> Spec:
    """A red line at a limit, on the axis given."""
    (name,) = {place["field"] for place in axis.values()}
    mark = {"type": "rule", "color": RED, "strokeWidth": 1.5, "strokeDash": [6, 3]}
    return layer(mark, [{name: value}], **axis, tooltip=tips(**{name: "limit"}))


def stall_bars(stalls: Sequence[Stall], x: Spec) -> list[Spec]:
    """Grey bars over the times in which replicas stood still; no layer where they never did."""
    values = [{"t": stall.start_s, "until": stall.end_s, "seconds": stall.seconds} for stall in stalls]
    mark = {"type": "rect", "color": GREY, "opacity": 0.35}
    told = tips(t="stood still from, s", seconds="for, s")
    return [layer(mark, values, x=x, x2=field("until"), tooltip=told)] if values else []


def chart(
    title: str, height: int, layers: Sequence[Spec], *, note: str = "", values: Rows | None = None
) -> Spec:
    """A chart of layers, with its title and a note on how to read it above its left edge."""
    heading = {"text": title, **({"subtitle": note} if note else {})}
    data = {} if values is None else {"data": {"values": values}}
    return {"title": heading, "width": WIDTH, "height": height, **data, "layer": list(layers)}


def stacked(panels: Sequence[Spec], params: Sequence[Spec] = ()) -> Spec:
    """Charts below one another."""
    return {"vconcat": list(panels), "spacing": 14, **({"params": list(params)} if params else {})}


def whole(made: Spec) -> Spec:
    """A whole specification, with the fonts and colours that all charts share."""
    quiet = {"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal"}
    config = {
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "title": {"anchor": "start", "fontSize": 13, "fontWeight": 600, "subtitleFontSize": 11,
                  "subtitleColor": "#555", "limit": 2000},
        "axis": {**quiet, "gridColor": "#eceff2", "domainColor": "#b8c0c8", "tickColor": "#b8c0c8",
                 "labelOverlap": "greedy", "labelSeparation": 6},
        "legend": {**quiet, "orient": "top"},
    }  # fmt: skip
    return {"$schema": _SCHEMA, "background": "white", "padding": 4, "config": config, **made}
