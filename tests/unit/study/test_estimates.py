from __future__ import annotations

import numpy as np
import pytest

from harness_llm.study.estimates import (
    curve,
    mean_of,
    outliers,
    pareto,
    readable,
    tells_apart,
    tied_with_least,
)


def test_planted_outliers_are_found_and_clean_rows_are_left() -> None:
    random = np.random.default_rng(0)
    found = missed = wrong = clean = 0
    for _ in range(200):
        values = 100 + 2 * random.standard_normal(60)
        planted = random.choice(60, 3, replace=False)
        values[planted] *= 3
        is_out = outliers(values)
        found, missed = found + is_out[planted].sum(), missed + (~is_out[planted]).sum()
        others = np.delete(is_out, planted)
        wrong, clean = wrong + others.sum(), clean + len(others)
    assert found / (found + missed) >= 0.95
    assert wrong / clean <= 0.01


@pytest.mark.parametrize("values", [[], [1.0], [5.0] * 20, [1, 2, 3, 100]])
def test_few_or_constant_values_have_no_outliers(values: list[float]) -> None:
    assert not outliers(np.array(values)).any()


def test_an_interval_holds_the_truth_in_95_of_100_and_one_trial_has_none() -> None:
    random = np.random.default_rng(1)
    inside = sum(
        it.low <= 10 <= it.high  # type: ignore[operator]
        for it in (mean_of((10 + random.standard_normal(3)).tolist()) for _ in range(1000))
    )
    assert 930 <= inside <= 970
    assert str(mean_of([2.0])) == "2" and mean_of([2.0]).low is None


def test_differences_are_judged_trial_by_trial() -> None:
    drift = np.array([1.0, 1.2, 1.4])
    assert tells_apart(drift, drift * 1.02 + np.array([0, 0.001, -0.001])) is True
    assert tells_apart(drift, drift + np.array([0.05, -0.06, 0.02])) is False
    assert tells_apart([1.0], [2.0]) is None and tells_apart([1.0, 2.0], [1.0]) is None
    assert tied_with_least([[3.0, 3.1], [1.0, 1.01], [1.01, 1.0]]) == [1, 2]
    assert tied_with_least([[1.0], [2.0]]) is None


def test_a_front_keeps_what_nothing_beats_in_both() -> None:
    assert pareto([1, 2, 3, 3], [1, 2, 1.5, 4]) == [0, 2]


def test_a_curve_meets_its_points_and_does_not_overshoot() -> None:
    x, y = [1.0, 2.0, 3.0, 4.0], [0.0, 10.0, 10.0, 10.0]
    found = curve(x, y)(np.linspace(1, 4, 50))
    assert found.min() >= 0 and found.max() <= 10
    assert curve([1.0, 3.0], [2.0, 4.0])(np.array([2.0])) == [3.0]
    assert curve([1.0], [2.0])(np.array([1.0])) == [2.0]


@pytest.mark.parametrize(("value", "shown"), [(12390.4, "12,390"), (-1000.0, "-1,000"), (0.16098, "0.161")])
def test_numbers_are_shown_without_exponents(value: float, shown: str) -> None:
    assert readable(value) == str(mean_of([value])) == shown
