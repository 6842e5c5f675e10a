from __future__ import annotations

import pytest

from harness_llm.core import GenerationLimits, Mode, Scenario, counted


@pytest.mark.parametrize(
    ("scenario", "loadgen_name", "is_timed"),
    [
        (Scenario.OFFLINE, "Offline", False),
        (Scenario.SERVER, "Server", True),
        (Scenario.INTERACTIVE, "Server", True),
    ],
)
def test_scenario_says_what_loadgen_calls_it(scenario: Scenario, loadgen_name: str, is_timed: bool) -> None:
    assert scenario.loadgen_name == loadgen_name
    assert scenario.is_timed_per_token is is_timed


def test_a_number_has_its_noun_in_the_right_number() -> None:
    assert [counted(count, "replica") for count in (0, 1, 1024)] == [
        "0 replicas",
        "1 replica",
        "1,024 replicas",
    ]
    assert [counted(count, "is", "are") for count in (1, 2)] == ["1 is", "2 are"]


def test_modes_are_spelled_as_loadgen_spells_them() -> None:
    assert {mode.value: mode.folder for mode in Mode} == {
        "PerformanceOnly": "performance",
        "AccuracyOnly": "accuracy",
    }


@pytest.mark.parametrize("limits", [(0, 5), (6, 5), (-1, -1)])
def test_impossible_limits_are_a_programmers_mistake(limits: tuple[int, int]) -> None:
    with pytest.raises(AssertionError):
        GenerationLimits(*limits)


def test_limits_may_force_one_length() -> None:
    assert GenerationLimits(7, 7).max_tokens == 7
