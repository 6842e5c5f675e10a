"""Metrics by their names: which one a benchmark is scored by, and what each asks for before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness_llm import rules
from harness_llm.accuracy.metrics import (
    METRICS,
    Answer,
    Foreign,
    Metric,
    Rouge,
    metric_named,
    metric_of,
    rouge,
)
from harness_llm.benchmark import resolve
from harness_llm.datasets import SampleTable
from harness_llm.errors import ConfigError, DatasetError


def _table(references: list[str] | None) -> SampleTable:
    return SampleTable.from_prompts("t", [[1], [2]], max_tokens=9, min_tokens=2, references=references)


def test_every_metric_that_the_rules_name_is_there() -> None:
    table = rules.table()
    named = {row.scoring.metric for row in table.benchmarks.values()}
    named |= {row.metric for row in table.tests.values()}
    assert named - {None} == set(METRICS)
    assert all(name == metric.name and metric.scores for name, metric in METRICS.items())


@pytest.mark.parametrize("benchmark", sorted(rules.table().benchmarks))
def test_a_benchmark_is_scored_by_what_gives_all_its_gates_or_by_mlcommons(benchmark: str) -> None:
    found = metric_of(resolve(benchmark))
    gates = {gate.metric for gate in rules.table().benchmarks[benchmark].accuracy}
    assert gates <= set(found.scores)
    if isinstance(found, Foreign):
        assert set(found.scores) == gates and "--from" in found.note


def test_exact_match_by_the_rules_of_one_benchmark_is_not_that_of_another() -> None:
    """gpt-oss-120b's own exact match runs programs; the metric of that name grades letters and numbers."""
    assert isinstance(metric_of(resolve("gpt-oss-120b")), Foreign)
    assert isinstance(metric_of(resolve("gpt-oss-120b"), "exact_match"), Foreign), "rules are not chosen"


@pytest.mark.parametrize(
    ("chosen", "name"), [(None, "rouge"), ("rouge", "rouge"), ("exact_match", "exact_match")]
)
def test_the_owner_of_a_benchmark_chooses_its_metric(chosen: str | None, name: str) -> None:
    found = metric_of(resolve("mine"), chosen)
    assert not isinstance(found, Foreign) and found.name == name


def test_a_metric_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="^exact-match: no such metric") as caught:
        metric_named("exact-match")
    assert caught.value.remedy == "Did you mean exact_match? The metrics are rouge, exact_match."


def test_rouge_asks_for_references_and_for_the_sentence_model_where_it_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rouge, "has_sentence_model", lambda: False)
    with pytest.raises(DatasetError, match="t: has no reference answers"):
        Rouge().check(_table(None))
    Rouge().check(_table(["a", "b"]), ("rouge1", "rougeL"))
    with pytest.raises(ConfigError, match="rougeLsum") as caught:
        Rouge().check(_table(["a", "b"]), ("rouge1", "rougeLsum"))
    assert "download_model.py --dataset punkt_tab" in caught.value.remedy


def test_rouge_says_what_it_left_out_and_scores_by_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rouge, "has_sentence_model", lambda: False)

    class Words:
        def decode(self, answers: Any) -> list[str]:
            return [" ".join(["zero", "one", "two"][token] for token in answer) for answer in answers]

    words: Any = Words()
    found = Rouge().score([Answer(1, [1]), Answer(0, [0])], _table(["zero", "one"]), words)
    assert found.values == {"rouge1": 100.0, "rouge2": 0.0, "rougeL": 100.0}
    assert found.characters == len("one") + len("zero")
    assert list(found.left_out) == ["rougeLsum"] and "punkt_tab" in found.left_out["rougeLsum"]


def test_the_metric_of_the_documents_works(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[3] / "docs/accuracy.md").read_text().split("## Add a metric")[1]
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    made: Metric = names["Contains"]()
    monkeypatch.setitem(METRICS, made.name, made)
    found = metric_of(resolve("mine"), "contains")
    assert found is made
    with pytest.raises(DatasetError):
        made.check(_table(None))

    class Words:
        def decode(self, answers: Any) -> list[str]:
            return [" ".join(f"w{token}" for token in answer) for answer in answers]

    words: Any = Words()
    answers = [Answer(0, [1, 2]), Answer(1, [3])]
    assert made.score(answers, _table(["w2", "w2"]), words).values == {"contains": 50.0}
