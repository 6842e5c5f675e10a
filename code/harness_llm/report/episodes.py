"""When samples of a Server or Interactive test were over a limit, and what else was unlike the rest then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness_llm.logs.early_stopping import max_over_limit
from harness_llm.report.curves import unfinished
from harness_llm.report.measured import Measured
from harness_llm.report.phases import Stall

_APART_S = 10.0  # samples over a limit that arrived so near to one another are of one episode
_MOST = 5
_UNLIKE = 1.3  # times the usual, from which on it is named


@dataclass(frozen=True)
class Room:
    """How a test stands against a limit.

    Attributes:
        name: `TTFT` or `TPOT`.
        limit_ms: The limit at the 99th percentile, ms.
        over: Samples over it.
        allowed: How many may be, by LoadGen's early stopping; -1 where the samples are too few.
    """

    name: str
    limit_ms: float
    over: int
    allowed: int


@dataclass(frozen=True)
class Episode:
    """A stretch of arrivals in which samples were over a limit.

    Attributes:
        start_s: Arrival of the first, seconds.
        end_s: Arrival of the last.
        over: How many were over, by `TTFT` and `TPOT`.
        samples: Samples that arrived in it.
        stalls: Times without a sign of life that some of them waited through.
        arrivals: Rate of arrivals in it over that of the whole test.
        in_flight: Samples in flight in it over those of the whole test, both means.
        replicas: The replicas that answered those over a limit, where not all of them did.
    """

    start_s: float
    end_s: float
    over: dict[str, int]
    samples: int
    stalls: tuple[Stall, ...]
    arrivals: float
    in_flight: float
    replicas: tuple[int, ...]

    @property
    def is_busier(self) -> bool:
        """Whether more came than usual."""
        return self.arrivals >= _UNLIKE

    @property
    def is_fuller(self) -> bool:
        """Whether more was in flight than usual."""
        return self.in_flight >= _UNLIKE


def rooms(measured: Measured) -> tuple[Room, ...]:
    """How the test stands against each limit that LoadGen judged by."""
    return tuple(
        Room(name, limit, int((_latencies(measured)[name] > limit).sum()), max_over_limit(len(measured.rows)))
        for name, limit in measured.limits_ms.items()
    )


def episodes(measured: Measured) -> tuple[Episode, ...]:
    """The episodes with most samples over a limit, in the order of time."""
    over = {name: _latencies(measured)[name] > limit for name, limit in measured.limits_ms.items()}
    if not over:
        return ()
    (places,) = np.nonzero(np.logical_or.reduce(list(over.values())))
    if not len(places):
        return ()
    arrivals = measured.rows.arrival_s[places]
    cuts = np.nonzero(np.diff(arrivals) > _APART_S)[0] + 1
    parts = sorted(np.split(places, cuts), key=len, reverse=True)[:_MOST]
    return tuple(_episode(measured, part, over) for part in sorted(parts, key=lambda part: int(part[0])))


def _latencies(measured: Measured) -> dict[str, npt.NDArray[np.float64]]:
    return {"TTFT": measured.rows.ttft_ms, "TPOT": measured.rows.tpot_ms}


def _episode(
    measured: Measured, places: npt.NDArray[np.int64], over: dict[str, npt.NDArray[np.bool_]]
) -> Episode:
    samples = measured.rows
    start, end = float(samples.arrival_s[places[0]]), float(samples.arrival_s[places[-1]])
    until = float(np.nanmax(samples.finished_s[places], initial=end))
    inside = (samples.arrival_s >= start) & (samples.arrival_s <= end)
    length, whole = max(end - start, _APART_S), float(samples.arrival_s[-1]) or 1.0
    own = np.count_nonzero(np.abs(samples.arrival_s - (start + end) / 2) <= length / 2)
    middles = (measured.edges_s[:-1] + measured.edges_s[1:]) / 2
    in_flight = unfinished(samples, middles)
    within = (middles >= start) & (middles <= max(end, start + _APART_S))
    answered = tuple(int(number) for number in np.unique(samples.replica[places]))
    return Episode(
        start_s=start,
        end_s=end,
        over={name: int(mask[places].sum()) for name, mask in over.items()},
        samples=int(inside.sum()),
        stalls=tuple(stall for stall in measured.stalls if stall.start_s <= until and stall.end_s >= start),
        arrivals=own / length / (len(samples) / whole),
        in_flight=float(in_flight[within].mean() / max(in_flight.mean(), 1.0)) if within.any() else 1.0,
        replicas=() if answered == measured.replicas else answered,
    )
