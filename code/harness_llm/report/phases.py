"""Where the time of a test went: its ramp, its steady part and its tail, and when engines stood still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from harness_llm.report.curves import Curve
from harness_llm.results.sample_rows import Floats, SampleRows

_STEADY_SHARE = 0.9  # of the usual rate: where it is reached first and last, ramp ends and tail begins
_SMOOTH_SHARE = 0.02  # of the test, over which the rate is averaged before it is held against that
_LEAST_STALL_S = 1.0
_USUAL_GAPS = 8.0  # a pause that is no longer than so many usual ones is none
_NEIGHBOURS = 41  # pauses around one that say what is usual there
_LATE_SHARE = 0.5  # of a pause that its samples must have been late by


@dataclass(frozen=True)
class Phase:
    """A part of a test.

    Attributes:
        name: `ramp`, `steady` or `tail`.
        start_s: Its start, seconds.
        end_s: Its end, seconds.
        tokens_per_s: Its rate.
        cost: Share of the test's possible tokens that it lost against the usual rate, 0..1.
    """

    name: str
    start_s: float
    end_s: float
    tokens_per_s: float
    cost: float


@dataclass(frozen=True)
class Stall:
    """A time in which replicas that had work brought nothing, and all that they worked on was late.

    Attributes:
        start_s: The last sign of life before, seconds.
        end_s: The first after.
        replicas: Their numbers.
        waiting: Samples that waited for them.
    """

    start_s: float
    end_s: float
    replicas: tuple[int, ...]
    waiting: int

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end_s - self.start_s


def usual_rate(rate: Curve) -> float:
    """The rate of the steady part, tokens/s: the median of the bins that have at least half of the best."""
    smooth = _smooth(rate)
    good = smooth[smooth >= smooth.max(initial=0.0) / 2]
    return float(np.median(good)) if len(good) else 0.0


def phases(rate: Curve) -> tuple[Phase, ...]:
    """Ramp, steady part and tail, without those that have no length; none of a test without tokens."""
    usual, smooth = usual_rate(rate), _smooth(rate)
    if not usual:
        return ()
    (steady,) = np.nonzero(smooth >= _STEADY_SHARE * usual)
    cuts = (0, int(steady[0]), int(steady[-1]) + 1, len(smooth))
    widths = np.diff(rate.edges_s)
    possible = usual * float(widths.sum())
    found = []
    for name, first, last in zip(("ramp", "steady", "tail"), cuts, cuts[1:], strict=False):
        if last > first:
            seconds, tokens = (
                float(widths[first:last].sum()),
                float((rate.values * widths)[first:last].sum()),
            )
            found.append(
                Phase(
                    name,
                    float(rate.edges_s[first]),
                    float(rate.edges_s[last]),
                    tokens / seconds,
                    (usual * seconds - tokens) / possible,
                )
            )
    return tuple(found)


def _smooth(rate: Curve) -> Floats:
    return rate.rolling(_SMOOTH_SHARE * float(rate.edges_s[-1]))


def stalls(rows: SampleRows, begins: Floats) -> tuple[Stall, ...]:
    """When replicas stood still, in the order of time; what several did at once is one."""
    found = [
        stall
        for replica in np.unique(rows.replica[rows.is_finished])
        for stall in _of_replica(rows, begins, int(replica))
    ]
    merged: list[Stall] = []
    for stall in sorted(found, key=lambda stall: stall.start_s):
        if merged and stall.start_s < merged[-1].end_s:
            last = merged.pop()
            stall = Stall(
                last.start_s,
                max(last.end_s, stall.end_s),
                tuple(sorted({*last.replicas, *stall.replicas})),
                last.waiting + stall.waiting,
            )
        merged.append(stall)
    return tuple(merged)


def _of_replica(rows: SampleRows, begins: Floats, replica: int) -> list[Stall]:
    chosen = (rows.replica == replica) & rows.is_finished
    own, begun = rows[chosen], begins[chosen]
    signs = np.unique(np.concatenate([own.first_token_s, own.finished_s]))
    signs = signs[~np.isnan(signs)]
    gaps = np.diff(signs)
    if not len(gaps):
        return []
    usual = median_filter(gaps, size=_NEIGHBOURS, mode="nearest")
    late = _Lateness(own, begun)
    places = np.nonzero(gaps >= np.maximum(_LEAST_STALL_S, _USUAL_GAPS * usual))[0]
    pauses = [(float(signs[place]), float(signs[place + 1])) for place in places]
    return [
        Stall(start, end, (replica,), waiting)
        for start, end in pauses
        if (waiting := late.waiting(start, end))
    ]


class _Lateness:
    """How late samples were against what is usual for their length."""

    def __init__(self, rows: SampleRows, begins: Floats) -> None:
        self._issued, self._begins, self._ends = rows.issued_s, begins, rows.finished_s
        steps = np.maximum(rows.tokens, 1)
        took, waited = self._ends - self._begins, self._begins - self._issued
        self._late = took - steps * float(np.nanmedian(took / steps))
        self._late_first = waited - float(np.nanmedian(waited))
        self._has_first = ~np.isnan(rows.first_token_s)

    def waiting(self, start: float, end: float) -> int:
        """Samples that hung over a pause; 0 where they were not late by it, so that the pause was usual."""
        hung = (self._begins <= start) & (self._ends >= end)
        queued = self._has_first & (self._issued <= start) & (self._begins >= end)
        late = np.concatenate([self._late[hung], self._late_first[queued]])
        if not len(late) or float(np.median(late)) < _LATE_SHARE * (end - start):
            return 0
        return len(late)
