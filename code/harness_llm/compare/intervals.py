"""Intervals at 95 % for the difference of two systems, by what is known of the spread between runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness_llm.results.sample_rows import Floats

CONFIDENCE = 0.95
_LEAST_VALUES = 2
_TAILS = (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2)


@dataclass(frozen=True)
class Interval:
    """Where a difference lies with 95 % confidence, as a logarithm of B / A.

    Attributes:
        low: Its low end.
        high: Its high end.
    """

    low: float
    high: float

    @property
    def tells_apart(self) -> bool:
        """Whether equal systems lie outside of it."""
        return self.low > 0 or self.high < 0


def of_mean(values: Floats) -> Interval | None:
    """Student's interval of the mean of differences; None of fewer than two."""
    if len(values) < _LEAST_VALUES:
        return None
    half = stats.t.ppf(_TAILS[1], len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    middle = float(np.mean(values))
    return Interval(middle - half, middle + half)


def of_means(a: Floats, b: Floats) -> Interval | None:
    """Welch's interval of the difference of two means; None where one has fewer than two values."""
    if min(len(a), len(b)) < _LEAST_VALUES:
        return None
    found = stats.ttest_ind(b, a, equal_var=False).confidence_interval(CONFIDENCE)
    return Interval(float(found.low), float(found.high)) if math.isfinite(found.low) else None


def of_percentile(values: Floats, share: float) -> tuple[float, float] | None:
    """Two of the values between which a percentile lies, however they spread; None of too few values."""
    ordered = np.sort(values)
    below, above = (int(stats.binom.ppf(tail, len(ordered), share)) for tail in _TAILS)
    if below < 1 or above >= len(ordered):
        return None
    return float(ordered[below - 1]), float(ordered[above])
