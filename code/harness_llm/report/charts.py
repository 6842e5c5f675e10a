"""The charts of one test, by name, as Vega-Lite specifications of reduced data; each can stand alone."""

from __future__ import annotations

import numpy as np

from harness_llm.report.curves import Curve, band, generating, token_rate, unfinished
from harness_llm.report.marks import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    Spec,
    axis_x,
    axis_y,
    chart,
    field,
    layer,
    limit_rule,
    rows,
    stacked,
    stall_bars,
    tips,
    whole,
)
from harness_llm.report.measured import Measured
from harness_llm.report.sensed import sensed
from harness_llm.results.recompute import Integers
from harness_llm.results.sample_rows import Floats

_MOST_REPLICAS = 16  # with a panel of their own
_REPLICA_BINS = 150
_TAIL_POINTS = 300
_CELLS = (60, 30)  # of a histogram in two dimensions
_BARS = 50
_BESIDE = 5  # tokens
_LEAST_SPREAD = 2  # tokens between the shortest and the longest answer, for a chart by their lengths
_MEAN_S, _MEANS = 10.0, 12  # of tokens/s, and how many there are at least in a test
_WIDE = 8.0  # times the median: a latency that reaches so far gets a logarithmic axis


def charts(measured: Measured) -> dict[str, Spec]:
    """Every chart of a test that its data allow, in the order of a reader's questions."""
    samples, limits = measured.rows, measured.limits_ms
    found = {"time": _time(measured)}
    if measured.is_timed:
        ttft, tpot = samples.ttft_ms, samples.tpot_ms
        by_arrival, by_prompt, by_answer = (
            "TTFT, ms, by arrival",
            "TTFT, ms, by prompt",
            "TPOT, ms, by answer",
        )
        found["ttft_distribution"] = _tail("TTFT", ttft, limits.get("TTFT"))
        found["tpot_distribution"] = _tail("TPOT", tpot, limits.get("TPOT"))
        found["ttft_by_arrival"] = _cells(by_arrival, samples.arrival_s, "time, s", ttft, limits.get("TTFT"))
        found["ttft_by_prompt"] = _cells(by_prompt, samples.prompt_tokens, "tokens", ttft, limits.get("TTFT"))
        found["tpot_by_answer"] = _cells(by_answer, samples.tokens, "tokens", tpot, limits.get("TPOT"))
    else:
        by_order, by_answer = "Answered after, s, by order of issue", "Answered after, s, by answer"
        found["finish_by_order"] = _cells(by_order, samples.query, "number of the query", samples.finished_s)
        found["finish_by_answer"] = _cells(by_answer, samples.tokens, "tokens", samples.finished_s)
    if np.ptp(samples.tokens[samples.is_finished]) < _LEAST_SPREAD:
        found = {name: made for name, made in found.items() if not name.endswith("_by_answer")}
    found["lengths"] = _lengths(measured)
    if len(measured.replicas) > 1:
        found["replicas"] = _replicas(measured)
    return {name: whole(made) for name, made in found.items()}


def _time(measured: Measured) -> Spec:
    """Panels over one time; a stretch chosen in the first is what the others show."""
    brush = {"name": "brush", "select": {"type": "interval", "encodings": ["x"]}}
    all_of_it = axis_x("t", "", domain=[0, measured.seconds])
    part = axis_x("t", "time, s", domain={"param": "brush"})
    panels = [_rate(measured, all_of_it), _queue(measured, part)]
    if measured.is_timed:
        panels.append(_band(measured, "TTFT", measured.rows.ttft_ms, part))
        panels.append(_band(measured, "TPOT", measured.rows.tpot_ms, part))
    panels += sensed(measured, part)
    panels[0]["layer"][0]["params"] = [brush]
    names = [f"panel_{number}" for number in range(len(panels))]
    middles = (measured.edges_s[:-1] + measured.edges_s[1:]) / 2
    for name, panel in zip(names, panels, strict=True):
        x = all_of_it if name == names[0] else part
        span = layer({"type": "rule", "opacity": 0}, rows(t=[0.0, measured.seconds]), x=x)
        shown = {"condition": {"param": "hover", "value": 0.6, "empty": False}, "value": 0}
        line = layer({"type": "rule", "color": "#333"}, rows(t=middles), x=x, opacity=shown)
        panel["layer"] += [span, {"name": name, **line}]
    select = {"type": "point", "nearest": True, "on": "pointermove", "clear": "pointerout", "fields": ["t"]}
    return stacked(panels, [{"name": "hover", "select": select, "views": names}])


def _rate(measured: Measured, x: Spec) -> Spec:
    curve = measured.rate
    over_s = min(_MEAN_S, float(f"{measured.seconds / _MEANS:.1g}"))
    values = rows(t=_middles(curve), rate=curve.values, mean=curve.rolling(over_s))
    told = tips(t="s", rate="tokens/s")
    fine = {"type": "line", "interpolate": "step", "color": GREY, "strokeWidth": 1}
    layers = [
        layer(fine, x=x, y=axis_y("rate"), tooltip=told),
        layer({"type": "line", "color": BLUE, "strokeWidth": 2}, x=x, y=axis_y("mean")),
        *stall_bars(measured.stalls, x),
    ]
    note = f"grey: by {curve.edges_s[1]:.2g} s; blue: mean over {over_s:g} s"
    return chart("Tokens/s (drag to choose a stretch)", 110, layers, note=note, values=values)


def _queue(measured: Measured, x: Spec) -> Spec:
    middles = (measured.edges_s[:-1] + measured.edges_s[1:]) / 2
    open_ = unfinished(measured.rows, middles)
    running = np.minimum(generating(measured.rows, measured.begins_s, middles), open_)
    told = tips(t="s", unfinished="unfinished", running="generating")
    waiting = {"type": "area", "interpolate": "step", "color": ORANGE, "opacity": 0.5}
    busy = {"type": "area", "interpolate": "step", "color": BLUE, "opacity": 0.6}
    layers = [
        layer(waiting, x=x, y=axis_y("running"), y2=field("unfinished"), tooltip=told),
        layer(busy, x=x, y=axis_y("running"), tooltip=told),
        *stall_bars(measured.stalls, x),
    ]
    note = "blue: generating; orange: waiting" + ("" if measured.is_timed else "; estimated from the ends")
    values = rows(t=middles, unfinished=open_, running=running)
    return chart("Samples in flight", 90, layers, note=note, values=values)


def _band(measured: Measured, name: str, latencies: Floats, x: Spec) -> Spec:
    found = band(measured.rows.arrival_s, latencies, measured.edges_s)
    limit = measured.limits_ms.get(name)
    scale: Spec = {"type": "log", "nice": False} if _is_wide(latencies, limit) else {}
    told = tips(t="arrival, s", samples="samples", median="median, ms", p99="p99, ms", high="most, ms")
    bars = {"type": "rule", "color": BLUE, "opacity": 0.35, "strokeWidth": 1.5}
    dots = {"type": "point", "color": ORANGE, "filled": True, "size": 9, "opacity": 0.9}
    layers = [
        layer(bars, x=x, y=axis_y("low", **scale), y2=field("high"), tooltip=told),
        layer({"type": "line", "color": BLUE, "strokeWidth": 1.5}, x=x, y=axis_y("median", **scale)),
        layer(dots, x=x, y=axis_y("high", **scale), tooltip=told),
        *stall_bars(measured.stalls, x),
    ]
    note = "line: median; bars: least to most; dots: most"
    if limit is not None:
        layers.append(limit_rule(limit, y=axis_y("limit", **scale)))
        note += f"; red: limit, {limit:,g}"
    columns = {"low": found.low, "median": found.median, "p99": found.p99, "high": found.high}
    values = rows(t=found.at_s, samples=found.count, **columns)
    return chart(f"{name}, ms, by arrival", 120, layers, note=note, values=values)


def _is_wide(latencies: Floats, limit: float | None = None) -> bool:
    """Whether a latency and its limit lie so far apart that only a logarithmic axis shows both."""
    known = latencies[np.isfinite(latencies)]
    most = max(known.max(initial=0.0), limit or 0.0)
    return bool(len(known) and known.min() > 0 and most > _WIDE * np.median(known))


def _scale(latencies: Floats, limit: float | None) -> Spec:
    return {"type": "log", "nice": False} if _is_wide(latencies, limit) else {"zero": False}


def _middles(curve: Curve) -> Floats:
    middles: Floats = (curve.edges_s[:-1] + curve.edges_s[1:]) / 2
    return middles


def _tail(name: str, latencies: Floats, limit: float | None) -> Spec:
    """The share of samples slower than a latency: a limit and a percentile can be read off it."""
    ordered = np.sort(latencies[np.isfinite(latencies)])
    count = len(ordered)
    ranks = np.unique(np.geomspace(1, max(1, count), min(count, _TAIL_POINTS)).astype(np.int64))
    x = axis_x("latency", f"{name}, ms", **_scale(latencies, limit))
    y = axis_y("share", "~%", type="log", nice=False)
    line = {"type": "line", "interpolate": "step-after", "color": BLUE, "strokeWidth": 2}
    told = [
        *tips(latency="ms"),
        {"field": "share", "type": "quantitative", "format": ".3~%", "title": "share"},
    ]
    layers = [
        layer({"type": "rule", "color": GREY, "strokeDash": [2, 2]}, [{"share": 0.01}], y=y),
        layer(
            line, rows(latency=ordered[count - ranks], share=ranks / max(1, count)), x=x, y=y, tooltip=told
        ),
    ]
    note = "grey: 1 %, where p99 is read"
    if limit is not None:
        layers.append(limit_rule(limit, x=x))
        note += f"; red: limit, {limit:,g} ms"
    return chart(f"Share of samples with a longer {name}", 170, layers, note=note)


def _cells(title: str, x: Floats | Integers, x_title: str, y: Floats, limit: float | None = None) -> Spec:
    """A histogram in two dimensions."""
    known = np.isfinite(y) & (y > 0)
    x, y = np.asarray(x, np.float64)[known], y[known]
    near = limit if len(y) and limit is not None and y.min() / 4 < limit < y.max() * 4 else None
    is_log = _is_wide(y, near)
    low, high = (float(y.min()), float(y.max())) if len(y) else (1.0, 2.0)
    high = max(high, low * 1.001)
    edges_y = np.geomspace(low, high, _CELLS[1] + 1) if is_log else np.linspace(low, high, _CELLS[1] + 1)
    edges_x = np.linspace(x.min(initial=0.0), x.max(initial=1.0), _CELLS[0] + 1)
    counts, edges_x, edges_y = np.histogram2d(x, y, (edges_x, edges_y))
    i, j = np.nonzero(counts)
    scale = _scale(y, near)
    colour = {
        "field": "samples",
        "type": "quantitative",
        "scale": {"type": "log", "range": ["#c6dbef", "#08306b"]},
        "legend": {
            "title": "samples",
            "titleOrient": "left",
            "gradientLength": 100,
            "gradientThickness": 8,
            "tickCount": 3,
        },
    }
    cells = layer(
        {"type": "rect"},
        rows(x=edges_x[i], x2=edges_x[i + 1], y=edges_y[j], y2=edges_y[j + 1], samples=counts[i, j]),
        x=axis_x("x", x_title), x2=field("x2"), y=axis_y("y", **scale), y2=field("y2"), color=colour,
        tooltip=tips(x=x_title, y=title.partition(",")[0], samples="samples"),
    )  # fmt: skip
    limits = [] if near is None else [limit_rule(near, y=axis_y("limit", **scale))]
    return chart(title, 170, [cells, *limits])


def _lengths(measured: Measured) -> Spec:
    answers = measured.rows.tokens[measured.rows.is_finished]
    return stacked(
        [
            _bars("Samples by tokens of the prompt", measured.rows.prompt_tokens, GREEN),
            _bars("Samples by tokens of the answer", answers, BLUE),
        ]
    )


def _bars(title: str, lengths: Integers, colour: str) -> Spec:
    low, high = (int(lengths.min()), int(lengths.max())) if len(lengths) else (0, 0)
    if low == high:  # a bar needs some room beside it
        low, high = low - _BESIDE, high + _BESIDE
    width = max(1, -(-(high + 1 - low) // _BARS))
    counts, bounds = np.histogram(lengths, np.arange(low, high + 1 + width, width))
    x = axis_x("low", "tokens", zero=False) | {"axis": {"grid": False, "tickMinStep": 1}}
    bars = layer(
        {"type": "rect", "color": colour},
        rows(low=bounds[:-1], high=bounds[1:], samples=counts, none=np.zeros(len(counts))),
        x=x, x2=field("high"), y=axis_y("samples"), y2=field("none"),
        tooltip=tips(low="from", high="to", samples="samples"),
    )  # fmt: skip
    return chart(title, 80, [bars])


def _replicas(measured: Measured) -> Spec:
    """Tokens/s of each replica, all on one scale."""
    coarse = measured.edges_s[:: max(1, len(measured.edges_s) // _REPLICA_BINS)]
    curves = {}
    for number in measured.replicas[:_MOST_REPLICAS]:
        own = measured.rows.replica == number
        curves[number] = token_rate(measured.rows[own], measured.begins_s[own], coarse)
    most = max(float(curve.values.max()) for curve in curves.values())
    return stacked([_replica(number, curve, most) for number, curve in curves.items()])


def _replica(number: int, curve: Curve, most: float) -> Spec:
    area = layer(
        {"type": "area", "interpolate": "step", "color": BLUE, "opacity": 0.6},
        rows(t=_middles(curve), rate=curve.values),
        x=axis_x("t", ""), y=axis_y("rate", domain=[0, most]), tooltip=tips(t="s", rate="tokens/s"),
    )  # fmt: skip
    return chart(f"Replica {number}, tokens/s", 40, [area])
