from __future__ import annotations

import numpy as np
import pytest

from harness_llm.logs.early_stopping import max_over_limit
from harness_llm.views.odds import Odds

TOTAL = 6000  # samples, 10 a second
ALLOWED = max_over_limit(TOTAL)


def _odds(over: np.ndarray, until: int) -> float | None:
    odds, totals = Odds(), np.cumsum(over)
    for done in range(10, until + 1, 10):
        odds.take(1000.0 + done / 10, done, int(totals[done - 1]))
    return odds.within(TOTAL, ALLOWED)


def test_nothing_is_said_of_a_few_samples_and_all_of_a_whole_test() -> None:
    none = np.zeros(TOTAL, int)
    assert _odds(none, 40) is None and _odds(none, 1190) is None
    assert 0.5 < (_odds(none, 1200) or 0) <= (_odds(none, 3000) or 0) <= 1
    many = np.tile([1, 0, 0, 0, 0], TOTAL // 5)
    assert _odds(many, 40) is None and (_odds(many, 60) or 1) < 0.1, "a loss is told before a fifth is done"
    assert _odds(none, TOTAL) == 1.0
    assert _odds(np.ones(TOTAL, int), ALLOWED + 10) == 0.0


def test_while_none_is_over_it_counts_how_far_the_longest_latency_stays_below_the_limit() -> None:
    odds = Odds()
    odds.take(1000.0, 170, 0)
    near, half, far = (odds.within(838, max_over_limit(838), longest) or 0 for longest in (0.99, 0.5, 0.2))
    assert 0.2 < near < 0.6 < 0.9 < half < far < 1, "half of the limit is no sign of danger, the limit is"


@pytest.mark.parametrize(("burst", "apart", "score"), [(1, 0.05, 0.3), (10, 0.15, 0.7)])
def test_what_is_likely_comes_about_as_often_as_it_is_said(burst: int, apart: float, score: float) -> None:
    random = np.random.default_rng(7)
    said, came = [], []
    for _ in range(300):
        starts = random.random(TOTAL // burst) < random.uniform(0.0, 0.02)
        over = np.repeat(starts, burst).astype(int)
        chance = _odds(over, TOTAL // 3)
        assert chance is not None
        said.append(chance)
        came.append(int(over.sum()) <= ALLOWED)
    chances, valid = np.array(said), np.array(came)
    assert 0.1 < valid.mean() < 0.9
    for low, high in ((0.0, 0.1), (0.9, 1.01)):
        chosen = (chances >= low) & (chances < high)
        assert chosen.sum() >= 30
        assert valid[chosen].mean() == pytest.approx(chances[chosen].mean(), abs=apart)
    constant = np.mean((valid.mean() - valid) ** 2)
    assert np.mean((chances - valid) ** 2) < score * constant
