"""The charts of a tenants study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness_llm.report.marks import BLUE, GREY, ORANGE, Spec, layer
from harness_llm.results.live_records import LiveRecord
from harness_llm.study.pages import Figure
from harness_llm.tenants.measures import MeasuredSet, percentile, tokens_of

_WIDTH, _HEIGHT = 620, 240
_MOST_POINTS = 400
_SQUARE = 46  # pixels of a cell
_RATE_BINS = 60
_NAMES_A_ROW = 5
_AXIS_PIXELS = 46  # at least, so that charts begin below one another
Values = list[dict[str, Any]]


def figures(
    found: Sequence[MeasuredSet], live: Sequence[LiveRecord], tenants: int, marker: str
) -> list[Figure]:
    """Every chart for which something was measured.

    Args:
        found: All trials.
        live: How the study went, second by second.
        tenants: How many there are in all.
        marker: What stands beside every number; may be empty.
    """
    together = [one for one in found if len(one.tenants) == tenants]
    if not together:
        return []
    one = together[0]
    number = one.trial.record.number
    alone = [it for it in found if len(it.tenants) == 1 < tenants and it.trial.record.number == number]
    alone.sort(key=lambda it: one.tenants.index(it.tenants[0]))
    drawn = [
        ("latency", "Latency", "share of iterations that took at most so long", _latency(one, alone)),
        ("latency_over_time", "Latency over time", "ms; faint: not measured", _over_time(one)),
        ("tokens_over_time", "Speed over time", "tokens/s", _tokens_over_time(one)),
        ("throughput", "Speed", "tokens/s", _throughput(one, alone)),
        ("slowdown_matrix", "Slowdown", "times the median latency alone", _matrix(found)),
        ("fairness", "Progress", "share of its own speed alone that each tenant keeps", _fairness(one)),
        ("slo", "Within limits", "share of iterations within so many times the median alone", _slo(one)),
        ("utilization", "Utilization", _unit(one), _utilization(one, live)),
    ]
    return [
        Figure(name, {"title": {"text": title, "subtitle": [note, *([marker] if marker else [])]}, **spec})
        for name, title, note, spec in drawn
        if spec is not None
    ]


def _number(field: str, title: str, *, zero: bool = True, **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": zero}, **more}


def _name(field: str, title: str | None = None) -> Spec:
    return {"field": field, "type": "nominal", "title": title, "sort": None}


def _tenant() -> Spec:
    """A colour for each tenant; many names take several rows, so that the chart is not wider for them."""
    return {**_name("tenant"), "legend": {"columns": _NAMES_A_ROW}}


def _plain(values: Values, mark: Spec, *, height: int = _HEIGHT, **encoding: Any) -> Spec:
    y = {**encoding["y"], "axis": {"minExtent": _AXIS_PIXELS, **encoding["y"].get("axis", {})}}
    return {
        "width": _WIDTH, "height": height, "data": {"values": values}, "mark": mark,
        "encoding": {**encoding, "y": y},
    }  # fmt: skip


def _latency(one: MeasuredSet, alone: Sequence[MeasuredSet]) -> Spec:
    shares = np.linspace(0, 1, 101)
    values: Values = [
        {"tenant": name, "how": how, "share": float(share), "ms": percentile(own, share)}
        for how, trials in (("together", [one]), ("alone", alone))
        for trial in trials
        for name in trial.tenants
        for own in [trial.found[name].latency_ms[: trial.found[name].measured]]
        for share in shares
    ]
    return _plain(
        values, {"type": "line", "interpolate": "step-after"}, x=_number("ms", "ms", zero=False),
        y=_number("share", ""), color=_tenant(), order={"field": "share"},
        strokeDash=_name("how") if alone else {"value": []},
    )  # fmt: skip


def _over_time(one: MeasuredSet) -> Spec:
    begin = one.began_s
    values: Values = []
    for name, own in one.found.items():
        step = max(1, len(own.start_s) // _MOST_POINTS)
        values += [
            {"tenant": name, "s": float(own.start_s[place]) - begin, "ms": float(own.latency_ms[place]),
             "measured": 0.9 if place < own.measured else 0.25}
            for place in range(0, len(own.start_s), step)
        ]  # fmt: skip
    return _plain(
        values, {"type": "point", "filled": True, "size": 22}, x=_number("s", "seconds"),
        y=_number("ms", ""), color=_tenant(),
        opacity={"field": "measured", "type": "quantitative", "scale": None},
    )  # fmt: skip


def _tokens_over_time(one: MeasuredSet) -> Spec | None:
    begin, asked = one.began_s, {name: own for name, own in one.found.items() if len(own.start_s)}
    if not asked:
        return None
    ends = [own.start_s + own.latency_ms / 1000 - begin for own in asked.values()]
    # Until one of them has its last answer: what follows is a falling rest of each.
    edges = np.linspace(0, min(float(own.max()) for own in ends), _RATE_BINS + 1)
    values: Values = []
    for name in asked:
        counted = tokens_of(one.trial, name, one.counts[name], begin + edges) / np.diff(edges)
        values += [
            {"tenant": name, "s": float(at), "rate": float(rate)}
            for at, rate in zip(edges, [*counted, counted[-1]], strict=True)
        ]
    return _plain(
        values, {"type": "line", "interpolate": "step-after"}, x=_number("s", "seconds"),
        y=_number("rate", ""), color=_tenant(),
    )  # fmt: skip


def _throughput(one: MeasuredSet, alone: Sequence[MeasuredSet]) -> Spec:
    values: Values = [
        {"tenant": name, "how": how, "rate": trial.models[name]["throughput_tokens_per_s"]}
        for how, trials in (("alone", alone), ("together", [one]))
        for trial in trials
        for name in trial.tenants
    ]
    is_crowded = len(one.tenants) > _NAMES_A_ROW
    x = {**_name("tenant"), "axis": {"labelAngle": -30 if is_crowded else 0, "labelOverlap": False}}
    domain = {"domain": ["alone", "together"], "range": [GREY, BLUE]} if alone else {"range": [BLUE]}
    return _plain(
        values, {"type": "bar"}, x=x, y=_number("rate", ""), xOffset=_name("how"),
        color={**_name("how"), "scale": domain},
    )  # fmt: skip


def _matrix(found: Sequence[MeasuredSet]) -> Spec | None:
    cells: dict[tuple[str, str], list[float]] = {}
    for one in found:
        for name, own in one.models.items():
            if "slowdown" in own:
                cells.setdefault((name, one.trial.record.label), []).append(own["slowdown"])
    values: Values = [
        {"tenant": name, "set": label, "x": float(np.mean(own))} for (name, label), own in cells.items()
    ]
    if not values:
        return None
    scale = {"scheme": "oranges", "domain": [1, max(2.0, *(it["x"] for it in values))]}
    x = {**_name("set"), "axis": {"labelAngle": -30, "labelOverlap": False}}
    y = {**_name("tenant"), "sort": list(found[-1].tenants)}  # all of them
    color = {"field": "x", "type": "quantitative", "title": "times", "scale": scale}
    return {
        "width": {"step": 2 * _SQUARE}, "height": {"step": _SQUARE}, "data": {"values": values},
        "layer": [
            layer({"type": "rect", "opacity": 0.75}, x=x, y=y, color=color),
            layer({"type": "text"}, x=x, y=y, text={"field": "x", "format": ".2f"}),
        ],
    }  # fmt: skip


def _fairness(one: MeasuredSet) -> Spec | None:
    if "jain" not in one.gpu:
        return None
    values: Values = [{"tenant": name, "share": own["progress"]} for name, own in one.models.items()]
    ticks = {"tickCount": 5, "format": "%"}
    x = _number("share", "of its speed alone; line: what time-slicing gives", axis=ticks)
    base = _plain(
        values, {"type": "bar", "color": GREY}, height=28 * len(values) + 20, x=x, y=_name("tenant")
    )
    rule = {"type": "rule", "color": ORANGE, "strokeWidth": 2, "strokeDash": [5, 3]}
    bars = {"mark": base.pop("mark"), "encoding": base.pop("encoding")}
    return {**base, "layer": [bars, layer(rule, [{"share": 1 / len(values)}], x=x)]}


def _slo(one: MeasuredSet) -> Spec | None:
    values: Values = [
        {"tenant": name, "factor": float(factor), "share": share}
        for name, own in one.models.items()
        for factor, share in own.get("slo", {}).items()
    ]
    if not values:
        return None
    return _plain(
        values, {"type": "line", "point": True}, x=_number("factor", "times", zero=False),
        y=_number("share", "", axis={"format": "%"}), color=_tenant(),
    )  # fmt: skip


def _unit(one: MeasuredSet) -> str:
    return "GPU: share of time with any kernel, %" if one.facts.devices else "no GPU; cores in use"


def _utilization(one: MeasuredSet, live: Sequence[LiveRecord]) -> Spec | None:
    record = one.trial.record
    begin = one.began_s
    inside = [it for it in live if begin <= it.at_s <= record.ended_s + 1]
    values: Values = [
        {"s": it.at_s - begin, "what": f"GPU {device.index}", "y": 100 * device.busy}
        for it in inside
        for device in it.devices
        if device.busy is not None
    ] or [
        {"s": it.at_s - begin, "what": "cores", "y": it.host.own_cores}
        for it in inside
        if it.host.own_cores is not None
    ]
    if not values:
        return None
    return _plain(
        values, {"type": "line", "point": True}, x=_number("s", "seconds"), y=_number("y", ""),
        color=_name("what"),
    )  # fmt: skip
