"""LoadGen's draws and derived settings made again, from logs that LoadGen wrote."""

from __future__ import annotations

from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden.recorded import unpack
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.logs import draws
from harness_llm.logs.accuracy_log import AccuracyLog
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.draws import Draw, is_loaded_order, issued_samples, loaded_order
from harness_llm.logs.effective import query_faults, setting_faults
from harness_llm.logs.source import ACCURACY_LOG, DETAIL_LOG

RECORDED = (
    "toy-offline-valid",
    "toy-offline-accuracy",
    "toy-server-valid",
    "toy-server-accuracy",
    "llama2-offline",
    "llama2-offline-test06",
    "llama2-server",
    "llama2-server-accuracy",
    "llama2-server-test06",
    "llama2-interactive-test06",
)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_log_follows_from_its_settings_and_seeds(name: str, tmp_path: Path) -> None:
    folder = unpack(name, tmp_path)
    detail = DetailLog.read(folder / DETAIL_LOG)
    order = detail.value("loaded_qsl_set")
    assert isinstance(order, array) and len(order) >= 64
    assert is_loaded_order(order, detail.integer("effective_qsl_rng_seed") or 0)
    assert list(setting_faults(detail)) == [] and list(query_faults(detail)) == []


@pytest.mark.parametrize("name", [name for name in RECORDED if "accuracy" in name or "test06" in name])
def test_each_recorded_answer_is_to_the_sample_that_was_drawn(name: str, tmp_path: Path) -> None:
    folder = unpack(name, tmp_path)
    draw = Draw.of_log(DetailLog.read(folder / DETAIL_LOG))
    numbers = AccuracyLog.read(folder / ACCURACY_LOG).numbers
    assert draw is not None and numbers
    samples = next(issued_samples(draw))
    assert all(samples[number] == sample for number, sample in numbers)
    other = next(issued_samples(replace(draw, sample_seed=draw.sample_seed + 1, qsl_seed=draw.qsl_seed + 1)))
    assert not all(other[number] == sample for number, sample in numbers)


@given(seed=st.integers(0, 2**64 - 1), size=st.integers(1, 300), at=st.integers(0, 299))
def test_an_order_is_a_permutation_that_no_swap_keeps(seed: int, size: int, at: int) -> None:
    order = loaded_order(seed, size)[:]
    assert sorted(order) == list(range(size)) and is_loaded_order(order, seed)
    if size > 3 and at + 1 < size:
        order[at], order[at + 1] = order[at + 1], order[at]
        assert not is_loaded_order(order, seed) or size < 9  # of few samples, the older way may give it


def test_both_ways_of_drawing_are_even() -> None:
    for uniform in (draws._by_multiplication, draws._by_division):
        words = draws._words(7)
        counts = np.bincount(list(uniform(words, [6] * 6000)), minlength=6)
        assert len(counts) == 6 and counts.min() > 850


def test_the_order_of_a_large_data_set_is_known() -> None:
    order = loaded_order(7, 200_001)[:]
    assert is_loaded_order(order, 7)
    order[5], order[6] = order[6], order[5]
    assert not is_loaded_order(order, 7)


def test_no_order_of_a_size_that_is_none() -> None:
    assert not is_loaded_order(array("q"), 1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("effective_qsl_rng_seed", None),
        ("generated_query_count", 10**12),
        ("loaded_qsl_set", [1, "a"]),
    ],
)
def test_no_draw_of_a_damaged_log(key: str, value: object, tmp_path: Path) -> None:
    detail = DetailLog.read(unpack("toy-server-accuracy", tmp_path) / DETAIL_LOG)
    assert Draw.of_log(detail) is not None
    assert Draw.of_log(replace(detail, values={**detail.values, key: value})) is None


@pytest.mark.parametrize("by", [-64, -1, 1, 64])
def test_another_count_of_queries_does_not_follow(by: int, tmp_path: Path) -> None:
    detail = DetailLog.read(unpack("toy-server-valid", tmp_path) / DETAIL_LOG)
    count = (detail.integer("generated_query_count") or 0) + by
    changed = replace(detail, values={**detail.values, "generated_query_count": count})
    assert any("queries instead of" in fault for fault in query_faults(changed))


def test_unique_issue_asks_each_sample_once() -> None:
    draw = Draw(1, 2, 40, 40, is_offline=False, is_unique=True)
    assert sorted(next(issued_samples(draw))) == list(range(40))
    equal = Draw(1, 2, 40, 80, is_offline=False, is_equal_issue=True, copies=2)
    assert sorted(next(issued_samples(equal))) == sorted([*range(40), *range(40)])
    drawn = next(issued_samples(Draw(1, 2, 40, 80, is_offline=False)))
    assert len(set(drawn)) < 40 and len(drawn) == 80
    offline = Draw(1, 2, 40, 50, is_offline=True)
    assert (
        next(issued_samples(offline))[40:] == next(issued_samples(offline))[:10] == loaded_order(1, 40)[:10]
    )
