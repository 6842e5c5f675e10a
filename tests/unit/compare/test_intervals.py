from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness_llm.compare.intervals import of_mean, of_means, of_percentile


def test_the_interval_of_a_mean_is_students() -> None:
    found = of_mean(np.array([0.01, 0.02, 0.03]))
    assert found is not None
    half = 4.302652729911275 * 0.01 / math.sqrt(3)  # t of 2 degrees of freedom, from a printed table
    assert (found.low, found.high) == (pytest.approx(0.02 - half), pytest.approx(0.02 + half))
    assert not found.tells_apart and of_mean(np.array([0.01])) is None


def test_intervals_hold_what_they_promise() -> None:
    generator = np.random.default_rng(0)
    held = {"mean": 0, "means": 0, "p99": 0}
    true_p99 = float(stats.lognorm(0.5).ppf(0.99))
    for _ in range(400):
        one, other = generator.normal(0, 1, 6), generator.normal(0, 2, 5)
        mean, means = of_mean(one), of_means(one, other)
        p99 = of_percentile(np.exp(generator.normal(0, 0.5, 2000)), 0.99)
        assert mean and means and p99
        held["mean"] += mean.low <= 0 <= mean.high
        held["means"] += means.low <= 0 <= means.high
        held["p99"] += p99[0] <= true_p99 <= p99[1]
    assert all(370 <= count <= 396 for count in held.values()), held


def test_too_few_values_have_no_interval_of_a_percentile() -> None:
    assert of_percentile(np.arange(100.0), 0.99) is None
