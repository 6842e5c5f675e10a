from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.core import Mode, Scenario
from harness_llm.transport.spec import LoadgenTest
from harness_llm.transport.wire import Progress
from harness_llm.views.progress import Percentiles, TestProgress

_seconds = st.floats(2.0**-19, 2.0**19, width=32)


@given(st.lists(st.lists(_seconds, max_size=40), min_size=1, max_size=6), st.integers(0, 100))
def test_percentiles_are_true_to_a_thousandth(batches: list[list[float]], percent: int) -> None:
    percentiles = Percentiles()
    for batch in batches:
        percentiles.extend(np.array(batch, np.float32).tobytes())
    values = np.array([value for batch in batches for value in batch], np.float32)
    if not len(values):
        assert percentiles.at(percent) is None
        return
    least = next(v for v in sorted(values) if 100 * np.count_nonzero(values <= v) >= percent * len(values))
    assert percentiles.at(percent) == pytest.approx(float(least), rel=1.001e-3)


def test_what_lies_beyond_the_ends_counts_as_the_ends() -> None:
    percentiles = Percentiles()
    percentiles.extend(np.array([0.0, -1.0, 1e9], np.float32).tobytes())
    assert percentiles.at(66) == pytest.approx(1e-6, rel=1.1e-3)
    assert percentiles.at(100) == pytest.approx(1e6, rel=3e-3)


def test_a_long_test_takes_no_more_memory_than_a_short_one() -> None:
    percentiles = Percentiles()
    size = percentiles._counts.nbytes
    values = np.random.default_rng(1).permutation(np.linspace(0.001, 5, 200_000)).astype(np.float32)
    for start in range(0, len(values), 1000):
        percentiles.extend(values[start : start + 1000].tobytes())
    assert percentiles._counts.nbytes == size < 1 << 17
    assert percentiles._counts.sum() == len(values)
    values.sort()
    for percent, rank in ((1, 2_000), (50, 100_000), (99, 198_000), (99.9, 199_800)):
        assert percentiles.at(percent) == pytest.approx(float(values[rank - 1]), rel=1.001e-3)


def _progress(scenario: Scenario = Scenario.SERVER, expected: int | None = None) -> TestProgress:
    test = LoadgenTest(f"{scenario}/x", scenario, Mode.PERFORMANCE, "m", "", 4.0, "s", expected=expected)
    return TestProgress(test)


def test_nothing_is_estimated_before_anything_is_known() -> None:
    progress = _progress(Scenario.OFFLINE, expected=10)
    assert progress.left_s is None
    progress.update(Progress(5, 0, 0, b"", b""))
    assert progress.left_s is None
    assert _progress(expected=10).left_s == pytest.approx(2.5), "LoadGen sends 4 queries a second"


def test_server_time_left_follows_the_schedule_and_offline_the_rate() -> None:
    server = _progress(expected=100)
    server.update(Progress(20, 10, 50, b"", b""))
    assert server.left_s == 20.0
    offline = _progress(Scenario.OFFLINE, expected=100)
    offline.started -= 10
    offline.update(Progress(100, 25, 50, b"", b""))
    assert offline.left_s == pytest.approx(30, rel=0.05)
    assert offline.tokens_per_s == pytest.approx(5, rel=0.05)


def test_a_message_without_news_leaves_the_test_quiet() -> None:
    progress = _progress()
    assert progress.update(Progress(1, 0, 0, b"", b""))
    progress.last_change -= 60
    assert not progress.update(Progress(1, 0, 0, b"", b""))
    assert progress.quiet_s > 59
    assert progress.update(Progress(1, 0, 0, np.array([0.1], np.float32).tobytes(), b""))
    assert progress.quiet_s < 1


def test_the_present_rate_is_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = _progress()
    progress.started = now[0]
    for second in range(101):
        now[0] = 1000.0 + second
        progress.update(Progress(second, second, min(second, 50) * 100 + max(0, second - 50) * 10, b"", b""))
    assert progress.tokens_per_s == pytest.approx(55)
    assert progress.tokens_per_s_now == pytest.approx(10)
    assert len(progress._past) < 30


def test_samples_over_a_limit_are_counted_and_so_are_those_that_may_be() -> None:
    test = LoadgenTest(
        "Server/x", Scenario.SERVER, Mode.PERFORMANCE, "m", "", 4.0, "s",
        expected=24_576, ttft_limit_ms=500, tpot_limit_ms=None,
    )  # fmt: skip
    progress = TestProgress(test)
    times = np.array([0.4, 0.6, 9.0], np.float32).tobytes()
    progress.update(Progress(3, 0, 0, times, times))
    progress.update(Progress(4, 0, 0, times, b""))
    assert (progress.ttft_over, progress.tpot_over, progress.allowed) == (4, 0, 209)
