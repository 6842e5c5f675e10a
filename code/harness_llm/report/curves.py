"""A test as curves over its time: tokens/s, samples in flight, latencies by time of arrival.

Everything is reduced to at most `MOST_BINS` points before it is drawn; each keeps its minimum and maximum, so
that no single sample is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness_llm.results.sample_rows import Floats, SampleRows
from harness_llm.results.token_times import spread

MOST_BINS = 600
_LEAST_BINS = 60
_INSTANT_S = 1e-6


@dataclass(frozen=True)
class Curve:
    """Values between edges of time.

    Attributes:
        edges_s: Edges, seconds, shape (bins + 1,).
        values: One between each two, shape (bins,).
    """

    edges_s: Floats
    values: Floats

    def rolling(self, seconds: float) -> Floats:
        """Mean over a window of about `seconds` around each bin."""
        width = round(seconds / float(self.edges_s[1] - self.edges_s[0]))
        width = min(max(1, width), len(self.values))
        count = np.convolve(np.ones(len(self.values)), np.ones(width), "same")
        mean: Floats = np.convolve(self.values, np.ones(width), "same") / count
        return mean


@dataclass(frozen=True)
class Band:
    """A latency by time of arrival: what the samples of each bin have; bins without samples are left out.

    Attributes:
        at_s: Middle of the bin, seconds.
        count: Samples in it.
        low: Least.
        median: Half are below.
        p99: 99 % are below.
        high: Largest.
    """

    at_s: Floats
    count: Floats
    low: Floats
    median: Floats
    p99: Floats
    high: Floats


def duration_s(rows: SampleRows) -> float:
    """Time of the last thing that happened, seconds."""
    times = (rows.arrival_s, rows.issued_s, rows.first_token_s, rows.finished_s)
    return max(float(np.nanmax(column, initial=0.0)) for column in times)


def edges(seconds: float, most: int = MOST_BINS) -> Floats:
    """Edges of equal bins: of one second, or of what makes at most `most` of them."""
    bins = min(most, max(_LEAST_BINS, math.ceil(seconds)))
    return np.linspace(0, max(seconds, _INSTANT_S), bins + 1)


def token_rate(rows: SampleRows, begins: Floats, edges_s: Floats) -> Curve:
    """Tokens/s of finished samples, each spread evenly from its begin to its end."""
    done = rows.is_finished
    made = spread(begins[done], rows.finished_s[done], rows.tokens[done], edges_s)
    return Curve(edges_s, made / np.diff(edges_s))


def unfinished(rows: SampleRows, at_s: Floats) -> Floats:
    """Samples that were issued and not answered, at each time."""
    return _count_until(rows.issued_s, at_s) - _count_until(rows.finished_s, at_s)


def generating(rows: SampleRows, begins: Floats, at_s: Floats) -> Floats:
    """Samples of which the engine was generating tokens, at each time."""
    return _count_until(begins, at_s) - _count_until(rows.finished_s[~np.isnan(begins)], at_s)


def _count_until(times: Floats, at_s: Floats) -> Floats:
    found: Floats = np.searchsorted(np.sort(times[~np.isnan(times)]), at_s, "right").astype(np.float64)
    return found


def band(at_s: Floats, values: Floats, edges_s: Floats) -> Band:
    """What the values of each bin of time have."""
    known = ~np.isnan(values)
    at_s, values = at_s[known], values[known]
    place = np.clip(np.searchsorted(edges_s, at_s, "right") - 1, 0, len(edges_s) - 2)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(edges_s)))
    middles = (edges_s[:-1] + edges_s[1:]) / 2
    parts = [
        (middles[number], part)
        for number in range(len(edges_s) - 1)
        if len(part := values[order[starts[number] : starts[number + 1]]])
    ]
    table = np.array(
        [[at, len(p), p.min(), *np.quantile(p, [0.5, 0.99]), p.max()] for at, p in parts], np.float64
    ).reshape(-1, 6)
    return Band(*table.T)
