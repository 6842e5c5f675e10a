from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from harness_llm.errors import ModelError
from harness_llm.quantize.recipe import Backend, Recipe, checkpoint_digest

if TYPE_CHECKING:
    from pathlib import Path

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


def checkpoint(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(weights)
    return folder


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


def test_digest_sees_a_changed_byte_at_either_end(tmp_path: Path) -> None:
    long = bytes(3 << 20)
    first = checkpoint_digest(checkpoint(tmp_path / "a", long))
    assert checkpoint_digest(checkpoint(tmp_path / "b", long)) == first
    assert checkpoint_digest(checkpoint(tmp_path / "c", b"x" + long[1:])) != first
    assert checkpoint_digest(checkpoint(tmp_path / "d", long[1:] + b"x")) != first
    assert checkpoint_digest(checkpoint(tmp_path / "e", long + b"\0")) != first


def test_digest_sees_a_changed_config(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "a")
    before = checkpoint_digest(folder)
    (folder / "config.json").write_text('{"model_type": "mistral"}')
    assert checkpoint_digest(folder) != before


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        checkpoint_digest(tmp_path / "nowhere")
    folder = checkpoint(tmp_path / "a")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no .*safetensors weights"):
        checkpoint_digest(folder)
