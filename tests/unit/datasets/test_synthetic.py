from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_llm.core import GenerationLimits
from harness_llm.datasets import SampleTable
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.synthetic import Synthetic
from harness_llm.errors import DatasetError


def _make(shape: str, *, max_tokens: int = 1024, seed: int = 0, vocab_size: int = 32_000) -> SampleTable:
    limits = GenerationLimits(min_tokens=2, max_tokens=max_tokens)
    return Synthetic(shape=shape, seed=seed).read(Reading(limits, vocab_size=vocab_size))


def test_fixed_shape_forces_every_length() -> None:
    table = _make("7:128:64")
    assert len(table) == 7
    assert set(table.prompt_lengths.tolist()) == {128}
    assert set(table.max_tokens.tolist()) == {64}
    assert table.references is None


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(1, 50),
    inputs=st.tuples(st.integers(1, 60), st.integers(0, 60)),
    outputs=st.tuples(st.integers(2, 60), st.integers(0, 60)),
    seed=st.integers(0, 2**32),
    vocab_size=st.integers(4, 300),
)
def test_ranges_hold_for_any_shape(
    count: int, inputs: tuple[int, int], outputs: tuple[int, int], seed: int, vocab_size: int
) -> None:
    (in_low, in_more), (out_low, out_more) = inputs, outputs
    shape = f"{count}:{in_low}-{in_low + in_more}:{out_low}-{out_low + out_more}"
    table = _make(shape, seed=seed, vocab_size=vocab_size)
    assert len(table) == count
    assert in_low <= table.prompt_lengths.min() <= table.prompt_lengths.max() <= in_low + in_more
    assert out_low <= table.max_tokens.min() <= table.max_tokens.max() <= out_low + out_more
    assert (table.min_tokens == table.max_tokens).all()
    assert 3 <= table.tokens.min() <= table.tokens.max() < vocab_size


def test_range_ends_are_both_drawn() -> None:
    table = _make("500:1-3:2-4")
    assert set(table.prompt_lengths.tolist()) == {1, 2, 3}
    assert set(table.max_tokens.tolist()) == {2, 3, 4}


def test_same_seed_same_table_and_another_seed_another() -> None:
    assert _make("20:5-50:2-9", seed=4).digest == _make("20:5-50:2-9", seed=4).digest
    assert _make("20:5-50:2-9", seed=4).digest != _make("20:5-50:2-9", seed=5).digest


@pytest.mark.parametrize("seed", [0, 1, 20261121])
def test_llama2_70b_shape_has_the_stated_counts(seed: int) -> None:
    table = _make("llama2-70b", seed=seed)
    assert len(table) == 24_576
    assert table.prompt_lengths.mean() == pytest.approx(277.0, abs=1e-4)
    assert table.max_tokens.mean() == pytest.approx(294.45, abs=1e-4)
    assert 20 <= table.prompt_lengths.min() <= table.prompt_lengths.max() <= 1023
    assert 2 <= table.max_tokens.min() <= table.max_tokens.max() <= 1024
    assert (table.min_tokens == table.max_tokens).all()
    assert table.prompt_lengths.std() > 100  # a distribution, not one length


@pytest.mark.parametrize(
    "shape",
    ["", "10", "10:5", "10:5:", "10:5:6:7", "-1:5:6", "0:5:6", "10:0:6", "10:5:1", "10:9-5:6", "10:5:9-6",
     "1e3:5:6", "10:5 :6", "llama2-70B", "10:99999999999:6"],
)  # fmt: skip
def test_unreadable_shape_is_refused_with_the_form(shape: str) -> None:
    with pytest.raises(DatasetError) as caught:
        _make(shape)
    assert "count:input:output" in caught.value.remedy
    assert repr(shape) in caught.value.message


def test_answers_beyond_max_tokens_are_a_contradiction() -> None:
    with pytest.raises(DatasetError, match="up to 65 tokens, max_tokens is 64"):
        _make("10:5:65", max_tokens=64)


def test_vocabulary_of_special_tokens_only_is_refused() -> None:
    with pytest.raises(DatasetError, match="vocab_size is 3"):
        _make("10:5:6", vocab_size=3)


def test_prompts_of_nearly_one_length_lie_within_their_variation() -> None:
    table = _make("fixed400:128:16", max_tokens=32)
    assert len(table) == 400 and set(table.max_tokens.tolist()) == {32}
    assert (table.prompt_lengths.min(), table.prompt_lengths.max()) == (112, 144)
    assert set(_make("fixed5:128").prompt_lengths.tolist()) == {128}
    with pytest.raises(DatasetError, match="cannot vary by 128"):
        _make("fixed5:128:128")
