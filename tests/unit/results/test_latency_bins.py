from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.results.latency_bins import Percentiles, binned

_seconds = st.floats(2.0**-19, 2.0**19, width=32)


@given(st.lists(st.lists(_seconds, max_size=40), min_size=1, max_size=6), st.integers(0, 100))
def test_percentiles_are_true_to_half_a_percent(batches: list[list[float]], percent: int) -> None:
    percentiles = Percentiles()
    for batch in batches:
        percentiles.add(binned(np.array(batch, np.float32).tobytes()))
    values = np.array([value for batch in batches for value in batch], np.float32)
    assert percentiles.count == len(values)
    if not len(values):
        assert percentiles.at(percent) is None
        return
    least = next(v for v in sorted(values) if 100 * np.count_nonzero(values <= v) >= percent * len(values))
    assert percentiles.at(percent) == pytest.approx(float(least), rel=5.1e-3)


def test_what_lies_beyond_the_ends_counts_as_the_ends() -> None:
    percentiles = Percentiles()
    percentiles.add(binned(np.array([0.0, -1.0, 1e9], np.float32).tobytes()))
    assert percentiles.at(66) == pytest.approx(1e-6, rel=6e-3)
    assert percentiles.at(100) == pytest.approx(1e6, rel=2e-2)
    percentiles.add({-7: 1, 10**9: 1})
    assert percentiles.count == 5


def test_a_long_test_takes_no_more_memory_than_a_short_one() -> None:
    percentiles = Percentiles()
    size = percentiles._counts.nbytes
    values = np.random.default_rng(1).permutation(np.linspace(0.001, 5, 200_000)).astype(np.float32)
    for start in range(0, len(values), 1000):
        percentiles.add(binned(values[start : start + 1000].tobytes()))
    assert percentiles._counts.nbytes == size < 1 << 15
    values.sort()
    for percent, rank in ((1, 2_000), (50, 100_000), (99, 198_000), (99.9, 199_800)):
        assert percentiles.at(percent) == pytest.approx(float(values[rank - 1]), rel=5.1e-3)
    assert percentiles.within(2.5) == pytest.approx(100_000, rel=0.011)
