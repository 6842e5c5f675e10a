from __future__ import annotations

import gc

import pytest

from harness_llm.kernels import tally


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "_facts", {})


def test_a_worker_answers_with_what_was_noted() -> None:
    tally.note("random_weights", {"seed": 0})
    tally.count("fp8_linear.x")
    tally.count("fp8_linear.x")
    assert tally.Worker().harness_llm_facts() == {"random_weights": {"seed": 0}, "fp8_linear.x": 2}


def test_facts_are_a_copy() -> None:
    tally.facts()["x"] = 1
    assert tally.facts() == {}


def test_a_worker_spares_the_collector_what_is_there() -> None:
    before = gc.get_freeze_count()
    try:
        assert tally.Worker().harness_llm_freeze() > before + 1000
    finally:
        gc.unfreeze()
