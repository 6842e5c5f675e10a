from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from harness_llm.kernels import register
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


def test_vllm_finds_the_package_in_an_environment_that_the_project_sets_up() -> None:
    (entry,) = (it for it in entry_points(group="vllm.general_plugins") if it.name == "harness_llm")
    assert entry.load() is register
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert entry.dist is not None and entry.dist.version == project["version"]
    assert project["entry-points"]["vllm.general_plugins"] == {entry.name: entry.value}


def test_each_kernel_has_a_fact_of_its_own_to_be_seen_by() -> None:
    assert len({kernel.fact for kernel in Kernel}) == len(Kernel)


def test_nothing_is_replaced_unless_asked() -> None:
    assert asked_for({}) == frozenset()


@pytest.mark.parametrize("text", ["yes", "linear,on", "Linear", "off,linear"])
def test_another_word_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=f"{KERNELS_VARIABLE}: found"):
        asked_for({KERNELS_VARIABLE: text})
