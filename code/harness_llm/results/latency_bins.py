"""Latencies counted in bins: small enough for one line per second, true to half a percent."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

_LEAST_S, _MOST_S = 1e-6, 1e6
_LOG_WIDTH = math.log(1.01)  # of a bin
_BINS = math.ceil(math.log(_MOST_S / _LEAST_S) / _LOG_WIDTH) + 1


def binned(packed: bytes) -> dict[int, int]:
    """How many of these float32 seconds lie in which bin; bins that are empty are left out.

    The edges lie a factor of 1.01 apart, from 1 µs to 10⁶ s, which stand for whatever lies beyond them.
    """
    seconds = np.frombuffer(packed, np.float32).astype(np.float64)
    places = np.log(np.clip(seconds, _LEAST_S, _MOST_S) / _LEAST_S) / _LOG_WIDTH
    bins, counts = np.unique(places.astype(np.int64), return_counts=True)
    return dict(zip(bins.tolist(), counts.tolist(), strict=True))


def middle_s(place: int) -> float:
    """The seconds that stand for a bin."""
    return _LEAST_S * math.exp((place + 0.5) * _LOG_WIDTH)


class Percentiles:
    """Percentiles of a growing set of latencies, in a memory and a time that do not grow with it.

    They are for people who watch a run; a result is LoadGen's own figure, which is exact.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, counts: Mapping[int, int]) -> None:
        """Add what `binned` counted; a bin that is none counts as the nearest one."""
        places = np.clip(np.fromiter(counts.keys(), np.int64, len(counts)), 0, _BINS - 1)
        np.add.at(self._counts, places, np.fromiter(counts.values(), np.int64, len(counts)))

    @property
    def count(self) -> int:
        """How many latencies there are."""
        return int(self._counts.sum())

    @property
    def sum_s(self) -> float:
        """Their sum, to half a percent, seconds."""
        places = np.flatnonzero(self._counts)
        return float(sum(self._counts[place] * middle_s(int(place)) for place in places))

    def at(self, percent: float) -> float | None:
        """The smallest value that `percent` percent do not exceed, seconds; None while there are none."""
        up_to = np.cumsum(self._counts)
        count = int(up_to[-1])
        if not count:
            return None
        return middle_s(int(np.searchsorted(up_to, max(1, math.ceil(count * percent / 100)))))

    def within(self, seconds: float) -> int:
        """How many lie in bins that begin below `seconds`."""
        place = math.ceil(math.log(max(seconds, _LEAST_S) / _LEAST_S) / _LOG_WIDTH)
        return int(self._counts[:place].sum())
