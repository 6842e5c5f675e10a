from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from harness_llm.quantize.recipe import Backend, Recipe

if TYPE_CHECKING:
    pass

RECIPE = Recipe(
    model="a-model",
    model_digest="1" * 64,
    calibration="set",
    calibration_digest="2" * 64,
    calibration_source="set.pkl",
    samples=1000,
    tokens=280_000,
    sequence_length=1024,
    backend=Backend.MODELOPT,
    backend_version="0.47.0",
    model_type="llama",
)


def test_names_of_folders_and_files_do_not_count() -> None:
    moved = dataclasses.replace(
        RECIPE, model="renamed", calibration="other", calibration_source="elsewhere.pkl"
    )
    assert moved.fingerprint == RECIPE.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"model_digest": "3" * 64},
        {"calibration_digest": "3" * 64},
        {"samples": 999},
        {"sequence_length": 512},
        {"backend": Backend.QUARK},
        {"backend_version": "0.47.1"},
        {"kv_cache": "auto"},
        {"excluded": ()},
    ],
)
def test_everything_else_counts(change: dict[str, object]) -> None:
    assert dataclasses.replace(RECIPE, **change).fingerprint != RECIPE.fingerprint  # type: ignore[arg-type]
