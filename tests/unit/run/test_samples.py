"""The samples of each test, and those that could not be scored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from own_benchmark import OFFICIAL, TEST07, Setup, synthetic

from harness_llm.errors import ConfigError, DatasetError, ModelError
from harness_llm.run.prepare import prepare


def test_accuracy_without_references_is_refused_for_a_real_engine(setup: Setup) -> None:
    with pytest.raises(DatasetError, match="no reference answers"):
        prepare([setup.config("Offline", {"model": setup.checkpoint()}, engine="vllm")])


def test_a_test_with_samples_of_its_own_is_planned_by_them(setup: Setup) -> None:
    setup.conf.write_text(OFFICIAL)
    configs = [
        setup.config(name, benchmark="gpt-oss-120b", tests=TEST07, dataset=synthetic("6396:2:4"))
        for name in ("Offline", "Server")
    ]
    prepared = prepare(configs, ["accuracy", "TEST07", "TEST09", "TEST09"])
    assert len(prepared.table) == 6396
    assert {name: len(table) for name, table in prepared.own_tables.items()} == {"TEST07": 9}
    assert [(test.name, test.expected) for test in prepared.tests] == [
        (f"{scenario}/{test}", count)
        for scenario in ("Offline", "Server")
        for test, count in (("accuracy", 4395), ("TEST07", 9), ("TEST09", 6396))
    ]
    audits = {test.name: test.audit_conf or "" for test in prepared.tests}
    assert "performance_sample_count_override = 9\n" in audits["Offline/TEST07"]
    assert "performance_sample_count_override" not in audits["Offline/TEST09"]
    (note,) = (note for note in prepared.notes if "not scored" in note)
    assert "exact_match" in note and "docs/accuracy.md" in note
    assert prepare([configs[0]], ["TEST09"]).own_tables == {}, "samples that no test asks for are not loaded"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ({"token_ids": [5]}, "has no reference answers"),
        ({"token_ids": [5], "reference": "print(1)"}, "neither a letter"),
    ],
)
def test_samples_that_test07_cannot_score_are_found_before_a_start(
    setup: Setup, line: dict[str, Any], named: str
) -> None:
    setup.conf.write_text(OFFICIAL)
    path = setup.folder / "own.jsonl"
    path.write_text(json.dumps(line) + "\n")
    config = setup.config(
        "Offline",
        {"model": setup.checkpoint(), "override_generation_config": {"temperature": 1.0}},
        engine="vllm",
        benchmark="gpt-oss-120b",
        tests={"TEST07": {"dataset": "jsonl", "dataset_path": str(path)}},
    )
    with pytest.raises(DatasetError, match=named):
        prepare([config], ["TEST07"])


def test_a_missing_sentence_model_is_found_before_a_start(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.conf.write_text("llama3_1-8b.Offline.target_qps = 10\n")
    path = setup.folder / "data.jsonl"
    path.write_text(json.dumps({"token_ids": [5], "reference": "text"}) + "\n")
    config = setup.config(
        "Offline", {"model": setup.checkpoint()}, engine="vllm", benchmark="llama3.1-8b",
        dataset="jsonl", dataset_path=str(path),
    )  # fmt: skip
    monkeypatch.setattr("harness_llm.accuracy.metrics.rouge.has_sentence_model", lambda: False)
    with pytest.raises(ConfigError, match="rougeLsum") as caught:
        prepare([config], ["accuracy"])
    assert "download_model.py --dataset punkt_tab" in str(caught.value)
    assert not [note for note in prepare([config], ["performance"]).notes if "scored" in note]
    monkeypatch.setattr("harness_llm.accuracy.metrics.rouge.has_sentence_model", lambda: True)
    assert not [note for note in prepare([config], ["accuracy"]).notes if "scored" in note]


def _own_lines(setup: Setup, *lines: dict[str, Any], **limits: int) -> dict[str, Any]:
    """An entry of `tests` for TEST07 with these samples."""
    path = setup.folder / "own.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"TEST07": {"dataset": "jsonl", "dataset_path": str(path), **limits}}


def test_a_test_may_have_a_limit_of_its_own(setup: Setup) -> None:
    setup.conf.write_text(OFFICIAL)
    sample = {"token_ids": [5], "reference": "A"}
    for limits, most in (({"max_tokens": 3}, 3), ({}, 8)):
        own = _own_lines(setup, sample, **limits)
        config = setup.config("Offline", benchmark="gpt-oss-120b", tests=own, max_tokens=8, min_tokens=2)
        prepared = prepare([config], ["TEST07", "TEST09"])
        assert prepared.own_tables["TEST07"].max_tokens.tolist() == [most]
        assert prepared.table.max_tokens.max() == 4, "the shape's own"


def test_a_tests_own_samples_must_fit_the_model_too(setup: Setup) -> None:
    setup.conf.write_text(OFFICIAL)
    llm = {"model": setup.checkpoint(context=20), "override_generation_config": {"temperature": 1.0}}
    for tokens, fits in ((12, True), (13, False)):
        own = _own_lines(setup, {"token_ids": [5] * tokens, "reference": "A"})
        config = setup.config("Offline", llm, engine="vllm", benchmark="gpt-oss-120b", tests=own)
        if fits:
            assert prepare([config], ["TEST07"]).own_tables
            continue
        with pytest.raises((DatasetError, ModelError), match="20"):
            prepare([config], ["TEST07"])
        assert not prepare([config], ["TEST09"]).own_tables, "what does not run need not fit"


def test_what_is_not_scored_is_said_only_where_it_was_asked_for(setup: Setup) -> None:
    setup.conf.write_text(OFFICIAL)
    config = setup.config("Offline", benchmark="gpt-oss-120b", tests=TEST07)
    asked, not_asked = (prepare([config], [test]).notes for test in ("accuracy", "TEST09"))
    assert any("exact_match" in note for note in asked)
    assert not any("exact_match" in note for note in not_asked)
