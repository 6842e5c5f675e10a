"""Numbers with their uncertainty, and what may be said of a choice between them; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import PchipInterpolator

from harness_llm.compare.intervals import of_mean
from harness_llm.results.sample_rows import Floats

_LEAST_ROWS = 8
_MOST_DEVIATIONS = 3.5
_SIGMA_OF_MAD = 1.4826  # of normal values


def readable(value: float) -> str:
    """A number to four digits, or whole, and never with an exponent as long as it is not tiny."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


@dataclass(frozen=True)
class Estimate:
    """A mean over trials, and where it lies with 95 % confidence; no interval of one trial."""

    value: float
    low: float | None
    high: float | None
    trials: int

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return readable(self.value)
        return f"{readable(self.value)} [{readable(self.low)}, {readable(self.high)}]"


def mean_of(values: Sequence[float]) -> Estimate:
    """Mean of one value per trial, with a Student's t interval."""
    array = np.asarray(values, np.float64)
    interval = of_mean(array)
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return Estimate(float(array.mean()), low, high, len(array))


def outliers(values: Floats) -> npt.NDArray[np.bool_]:
    """Which values lie further from the median than 3.5 robust deviations; of fewer than 8 values, none."""
    median = np.median(values) if len(values) else 0.0
    deviation = _SIGMA_OF_MAD * float(np.median(np.abs(values - median))) if len(values) else 0.0
    if len(values) < _LEAST_ROWS or not deviation:
        return np.zeros(len(values), np.bool_)
    found: npt.NDArray[np.bool_] = np.abs(values - median) > _MOST_DEVIATIONS * deviation
    return found


def tells_apart(a: Sequence[float], b: Sequence[float]) -> bool | None:
    """Whether positive values of the same trials differ beyond chance; None where that cannot be known."""
    if len(a) != len(b):
        return None
    interval = of_mean(np.log(np.asarray(b, np.float64)) - np.log(np.asarray(a, np.float64)))
    return None if interval is None else bool(interval.tells_apart)


def tied_with_least(values: Sequence[Sequence[float]]) -> list[int] | None:
    """Places of the least mean and of all that cannot be told from it; None where nothing can be told."""
    best = int(np.argmin([np.mean(own) for own in values]))
    told = [tells_apart(values[best], own) for own in values]
    others = [apart for place, apart in enumerate(told) if place != best]
    if not others or None in others:
        return None
    return [place for place, apart in enumerate(told) if place == best or not apart]


def pareto(more: Sequence[float], less: Sequence[float]) -> list[int]:
    """Places that no other beats in both: more of the one, less of the other."""
    points = list(zip(more, less, strict=True))
    return [
        place
        for place, (much, little) in enumerate(points)
        if not any(a >= much and b <= little and (a, b) != (much, little) for a, b in points)
    ]


def curve(x: Sequence[float] | Floats, y: Sequence[float]) -> Callable[[Floats], Floats]:
    """A smooth curve through points with ascending x that cannot overshoot; a line for 2, a level for 1."""
    if len(x) > 2:
        through: Any = PchipInterpolator(x, y)
        return lambda at: np.asarray(through(at), np.float64)
    return lambda at: np.interp(at, x, y)
