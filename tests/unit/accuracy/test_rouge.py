from __future__ import annotations

import importlib.util
import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from harness_llm.accuracy import AccuracyResult, Gates
from harness_llm.accuracy.metrics import rouge
from harness_llm.accuracy.metrics.rouge import Rouge, score_rouge
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# tools/submission/submission_checker/constants.py, ACC_PATTERN, @b66003e1
_PATTERNS = {
    "rouge1": r".*'rouge1':\s+'?([\d.]+)'?.*",
    "rouge2": r".*'rouge2':\s+'?([\d.]+)'?.*",
    "rougeL": r".*'rougeL':\s+'?([\d.]+)'?.*",
    "gen_len": r".*'gen_len':\s([\d.]+).*",
    "tokens_per_sample": r".*'tokens_per_sample':\s([\d.]+).*",
}
_PREDICTIONS = ["The running dogs barked.\nThey ran away!", "return sum(numbers) / len(numbers)", ""]
_REFERENCES = ["The running dog barked at Mr. Smith.", "return max(numbers)", "nothing"]


@pytest.fixture(autouse=True)
def without_sentence_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same result on machines with and without nltk's data."""
    monkeypatch.setattr(rouge, "has_sentence_model", lambda: False)
    yield


def _directly(predictions: list[str], references: list[str]) -> dict[str, float]:
    """What rouge-score itself says, pair by pair."""
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    pairs = [scorer.score(r, p) for p, r in zip(predictions, references, strict=True)]
    return {
        kind: round(float(np.mean([pair[kind].fmeasure for pair in pairs])) * 100, 4)
        for kind in ("rouge1", "rouge2", "rougeL")
    }


def test_scores_equal_rouge_score(tmp_path: Path) -> None:
    found = score_rouge(_PREDICTIONS, _REFERENCES)
    assert found == _directly(_PREDICTIONS, _REFERENCES)
    assert found["rouge1"] > found["rouge2"] > 0


def test_stemming_counts_inflected_words() -> None:
    assert score_rouge(["jumping"], ["leaping"])["rouge1"] == 0.0
    assert score_rouge(["jumping"], ["jumped"])["rouge1"] == 100.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("ab c.\n\tÄß7", max_size=30), st.text("ab c.\n\tÄß7", max_size=30)),
        min_size=1,
        max_size=5,
    )
)
def test_line_breaks_change_none_of_the_three(pairs: list[tuple[str, str]]) -> None:
    predictions, references = [p for p, _ in pairs], [r for _, r in pairs]
    found = score_rouge(predictions, references)
    assert found == _directly(predictions, references)
    assert found == score_rouge([re.sub(r"\s", "\n", p) for p in predictions], references)


def test_a_pool_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions, references = _PREDICTIONS * 3, _REFERENCES * 3
    assert score_rouge(predictions, references, processes=2) == score_rouge(predictions, references)


def test_lsum_is_left_out_without_the_sentence_model() -> None:
    assert set(score_rouge(["a"], ["a"])) == {"rouge1", "rouge2", "rougeL"}


def test_lsum_is_scored_by_sentence_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_full_stop(text: str) -> list[str]:
        return re.findall(r"[^.]+\.", text.replace(". ", "."))

    monkeypatch.setattr(rouge, "has_sentence_model", lambda: True)
    monkeypatch.setattr(rouge, "split_sentences", by_full_stop)
    found = score_rouge(["b two. a one."], ["a one. b two."])
    assert found["rougeL"] == 50.0
    assert found["rougeLsum"] == 100.0


def _result(**scores: float) -> AccuracyResult:
    return AccuracyResult("rouge", scores, samples=3, tokens=883, characters=4021)


def test_official_line_matches_the_checker_and_holds_plain_numbers(tmp_path: Path) -> None:
    scores = {"rouge1": np.float64(44.4312), "rouge2": np.float64(22.0), "rougeL": np.float64(28.6162)}
    AccuracyResult("rouge", scores, samples=3, tokens=np.int64(883), characters=np.int64(4021)).write(
        tmp_path
    )  # type: ignore[arg-type]
    text = (tmp_path / "accuracy.txt").read_text()
    assert "np." not in text
    lines = [line for line in text.splitlines() if "rouge1" in line]
    found = {name: re.match(pattern, lines[0]) for name, pattern in _PATTERNS.items()}
    values = {name: float(match[1]) for name, match in found.items() if match}
    assert values == {
        "rouge1": 44.4312, "rouge2": 22.0, "rougeL": 28.6162, "gen_len": 4021, "tokens_per_sample": 294.3
    }  # fmt: skip
    assert "'gen_num': 3" in lines[0]
    assert "'gen_tok_len': 883" in lines[0]


def test_gate_is_met_at_its_very_value_and_not_below() -> None:
    gates = Gates({"rouge1": 43.9869})
    assert AccuracyResult("rouge", {"rouge1": 43.9869}, 1, 9, 9, gates).passed is True
    missed = AccuracyResult("rouge", {"rouge1": 43.9868}, 1, 9, 9, gates)
    assert missed.passed is False
    assert missed.failures == ["rouge1 is 43.9868, the gate is 43.9869"]


def test_without_gates_nothing_is_judged() -> None:
    assert _result(rouge1=1.0).passed is None


def test_score_that_is_missing_or_not_a_number_fails_its_gate() -> None:
    gates = Gates({"rouge1": 1.0, "rougeLsum": 1.0})
    result = AccuracyResult("rouge", {"rouge1": float("nan")}, 1, 9, 9, gates, {"rougeLsum": "no data"})
    assert result.passed is False
    assert len(result.failures) == 2
    assert "rougeLsum is not scored (no data)" in result.failures[1]
    assert "rouge gives no such score" in AccuracyResult("rouge", {}, 1, 9, 9, gates).failures[0]


@pytest.mark.parametrize(("tokens", "passed"), [(2650, True), (2649, False), (3239, True), (3240, False)])
def test_window_of_tokens_per_sample_is_inclusive(tokens: int, passed: bool) -> None:
    gates = Gates({}, tokens_per_sample=(265.0, 323.9))
    assert AccuracyResult("rouge", {}, 10, tokens, 9, gates).passed is passed


def test_json_has_scores_gates_and_verdict(tmp_path: Path) -> None:
    AccuracyResult("rouge", {"rouge1": 5.0}, 2, 9, 9, Gates({"rouge1": 4.0}, source="a rule")).write(tmp_path)
    found = json.loads((tmp_path / "accuracy.json").read_text())
    assert found["metric"] == "rouge"
    assert found["scores"] == {"rouge1": 5.0}
    assert found["gates"] == {"rouge1": 4.0}
    assert found["passed"] is True
    assert found["samples"] == 2
    assert found["tokens_per_sample"] == 4.5
    assert found["gates_source"] == "a rule"


def test_a_package_that_scoring_needs_is_missed_before_a_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    table = SampleTable.from_prompts("t", [[1, 2]], max_tokens=4, min_tokens=2, references=["a"])
    Rouge().check(table)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nltk" else object())
    with pytest.raises(ConfigError, match="not installed: nltk"):
        Rouge().check(table)
