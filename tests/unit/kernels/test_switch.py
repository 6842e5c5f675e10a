from __future__ import annotations

import pytest

from harness_llm.kernels.switch import KERNELS_VARIABLE, MEASURED, Kernel, asked_for


@pytest.mark.parametrize(
    ("text", "kernels"),
    [
        ("", frozenset()),
        ("off", frozenset()),
        ("on", MEASURED),
        ("linear", {Kernel.LINEAR}),
        (" attention , linear ", {Kernel.ATTENTION, Kernel.LINEAR}),
    ],
)
def test_a_word_asks_for_kernels(text: str, kernels: frozenset[Kernel]) -> None:
    assert asked_for({KERNELS_VARIABLE: text}) == kernels


def test_nothing_is_replaced_unless_asked() -> None:
    assert asked_for({}) == frozenset()


@pytest.mark.parametrize("text", ["yes", "linear,on", "Linear", "off,linear"])
def test_another_word_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=f"{KERNELS_VARIABLE}: found"):
        asked_for({KERNELS_VARIABLE: text})
