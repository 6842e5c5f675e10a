"""What sensors reported during a test, as panels over its time: accelerators, KV caches, the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness_llm.report.marks import BLUE, ORANGE, Spec, axis_y, chart, layer, rows, tips
from harness_llm.report.measured import Measured
from harness_llm.results.live_records import DeviceState, LiveRecord
from harness_llm.results.sample_rows import Floats

_MOST_POINTS = 5000  # of a panel
_LEAST_BINS = 60
_MOST_NAMED = 8  # lines with a colour of their own
_HEIGHT = 60

Look = tuple[int, float, float | None]
"""Of which device or replica, when (monotonic, s), and what; None where it reported nothing."""


@dataclass(frozen=True)
class _Sensor:
    """What is reported of each device or replica, once a second."""

    title: str
    of: str
    looks: Callable[[LiveRecord], Iterator[Look]]
    is_from_zero: bool = True


def _device(tell: Callable[[DeviceState], float | None]) -> Callable[[LiveRecord], Iterator[Look]]:
    return lambda record: ((it.index, it.at_s, tell(it)) for it in record.devices)


def _kv_cache(record: LiveRecord) -> Iterator[Look]:
    for number, it in enumerate(record.replicas):
        yield number, record.at_s, None if it.kv_cache is None else 100 * it.kv_cache


_SENSORS = (
    _Sensor("Power, W", "device", _device(lambda it: it.watts)),
    _Sensor("Clock, MHz", "device", _device(lambda it: it.mhz)),
    _Sensor("Temperature, °C", "device", _device(lambda it: it.celsius), is_from_zero=False),
    _Sensor("KV cache in use, %", "replica", _kv_cache),
)


def sensed(measured: Measured, x: Spec) -> list[Spec]:
    """A panel for each sensor that reported anything, the host's cores last.

    Args:
        measured: The test.
        x: The axis of time that its other panels have.
    """
    records = measured.live_while_it_ran
    if not records or measured.origin_s is None:
        return []
    panels = [_lines(sensor, records, measured.origin_s, measured.seconds, x) for sensor in _SENSORS]
    panels.append(_cores(records, measured.origin_s, measured.seconds, x))
    return [panel for panel in panels if panel is not None]


def _lines(
    sensor: _Sensor, records: Sequence[LiveRecord], origin_s: float, seconds: float, x: Spec
) -> Spec | None:
    """A line for each device or replica."""
    found: dict[int, dict[float, float]] = {}
    for number, at_s, value in (look for record in records for look in sensor.looks(record)):
        if value is not None and 0 <= at_s - origin_s <= seconds:
            found.setdefault(number, {})[at_s - origin_s] = value
    if not found:
        return None
    values = []
    for number, line in sorted(found.items()):
        at, told = _thinned(np.array(list(line.items())), seconds, _MOST_POINTS // len(found))
        values += rows(t=at, value=told, of=np.full(len(at), number))
    mark: Spec = {"type": "line", "strokeWidth": 1.5, "opacity": 0.9}
    colour: Spec = {"value": BLUE}
    if 1 < len(found) <= _MOST_NAMED:
        legend = {"title": sensor.of, "titleOrient": "left", "symbolType": "stroke"}
        colour = {"field": "of", "type": "nominal", "legend": legend}
    line_of = layer(
        mark, x=x, y=axis_y("value", zero=sensor.is_from_zero), color=colour,
        detail={"field": "of", "type": "nominal"},
        tooltip=tips(t="s", of=sensor.of, value=sensor.title),
    )  # fmt: skip
    return chart(sensor.title, _HEIGHT, [line_of], values=values)


def _cores(records: Sequence[LiveRecord], origin_s: float, seconds: float, x: Spec) -> Spec | None:
    """Cores that the run and that others use."""
    looks = [(it.at_s - origin_s, it.host.own_cores, it.host.other_cores) for it in records if it.host]
    known = np.array([look for look in looks if None not in look], np.float64)
    if not len(known):
        return None
    at, own = _thinned(known[:, :2], seconds, _MOST_POINTS)
    _, others = _thinned(known[:, ::2], seconds, _MOST_POINTS)
    told = tips(t="s", own="this run's", others="others'")
    layers = [
        layer({"type": "line", "color": BLUE, "strokeWidth": 1.5}, x=x, y=axis_y("own"), tooltip=told),
        layer({"type": "line", "color": ORANGE, "strokeWidth": 1.5}, x=x, y=axis_y("others"), tooltip=told),
    ]
    note = "blue: by this run; orange: by others"
    return chart("Cores in use", _HEIGHT, layers, note=note, values=rows(t=at, own=own, others=others))


def _thinned(line: Floats, seconds: float, most: int) -> tuple[Floats, Floats]:
    """Means of bins of time where a line has more than `most` points; its times and values."""
    at, values = line.T
    if len(at) <= (most := max(most, _LEAST_BINS)):
        return at, values
    place = np.minimum((at / seconds * most).astype(np.int64), most - 1)
    count = np.maximum(np.bincount(place, minlength=most), 1)
    kept = np.bincount(place, minlength=most) > 0
    middles, means = (np.bincount(place, weights, most) / count for weights in (at, values))
    return middles[kept], means[kept]
