from __future__ import annotations

import pytest

from harness_llm.kernels import record


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_facts", {})


def test_a_worker_answers_with_what_was_noted() -> None:
    record.note("random_weights", {"seed": 0})
    record.count("fp8_linear.x")
    record.count("fp8_linear.x")
    assert record.Worker().harness_llm_facts() == {"random_weights": {"seed": 0}, "fp8_linear.x": 2}


def test_facts_are_a_copy() -> None:
    record.facts()["x"] = 1
    assert record.facts() == {}
