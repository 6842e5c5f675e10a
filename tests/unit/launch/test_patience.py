"""Limits of different modules that must not overtake one another."""

from __future__ import annotations

from harness_llm.engines.base import TaskEngine
from harness_llm.loadgen import links


def test_a_session_waits_longer_than_an_engine_may_take_to_let_go_of_the_one_before() -> None:
    """Else the next test would be lost while the replica still does what it must."""
    assert TaskEngine.let_go_s + 5 < links.WELCOME_TIMEOUT_S
