"""Files of a checkpoint that are not whole are named before anything slow."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from harness_llm.checkpoint import Checkpoint
from harness_llm.errors import ModelError

INDEX = "model.safetensors.index.json"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def safetensors(*names: str, dtype: str = "BF16", count: int = 8) -> bytes:
    size = count * (4 if dtype == "F32" else 2)
    header = {
        name: {"dtype": dtype, "shape": [count], "data_offsets": [at * size, (at + 1) * size]}
        for at, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size * len(names))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two shards, an index and a tokenizer."""
    config = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_key_value_heads": 2}))
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "a.safetensors").write_bytes(safetensors("x", "y"))
    (tmp_path / "b.safetensors").write_bytes(safetensors("z", dtype="F32"))
    places = {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": places}))
    return tmp_path


def test_a_whole_checkpoint_is_good_with_and_without_an_index(model: Path) -> None:
    Checkpoint(model).require(weights=True, tokenizer=True)
    (model / INDEX).unlink()
    Checkpoint(model).require(weights=True, tokenizer=True)
    assert Checkpoint(model).weight_bytes == {"BF16": 32, "F32": 32}
    assert Checkpoint(model).kv_elements_a_token == (2, 2 * 2 * 8)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def _as_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _as_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _as_dangling_link(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def _as_link_to_itself(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


def _as_device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_cut, "b.safetensors is cut"),
        (lambda file: file.write_bytes(b""), "b.safetensors is empty"),
        (lambda file: file.write_bytes(LFS), "b.safetensors is a pointer of Git LFS"),
        (
            lambda file: file.write_bytes(file.read_bytes() + b"x"),
            "b.safetensors is not what its header says",
        ),
        (
            lambda file: file.write_bytes(b"<html>error</html>"),
            "b.safetensors is cut short or no safetensors file",
        ),
        (
            lambda file: file.write_bytes(struct.pack("<Q", 4) + b"{,}}" + bytes(9)),
            "b.safetensors is damaged",
        ),
        (_as_folder, "b.safetensors cannot be read: is a folder"),
        (_as_fifo, "b.safetensors cannot be read: is a named pipe"),
        (_as_link_to_itself, "b.safetensors cannot be read: Too many levels of symbolic links"),
        (_as_device, "b.safetensors cannot be read: is a device"),
        (_as_dangling_link, "b.safetensors links to nowhere, which is not there"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_shard_that_is_not_whole_is_named(
    model: Path, harm: Callable[[Path], object], said: str, with_index: bool
) -> None:
    harm(model / "b.safetensors")
    if not with_index:
        (model / INDEX).unlink()
    with pytest.raises(ModelError) as caught:
        Checkpoint(model).require(weights=True)
    assert said in caught.value.message and "a.safetensors" not in caught.value.message


def test_a_shard_that_the_index_names_and_a_tensor_that_it_lacks_are_named(model: Path) -> None:
    (model / "b.safetensors").unlink()
    with pytest.raises(ModelError, match="b.safetensors is missing"):
        Checkpoint(model).require(weights=True)
    (model / "b.safetensors").write_bytes(safetensors("other"))
    with pytest.raises(ModelError, match="b.safetensors lacks 1 tensors that .* such as z"):
        Checkpoint(model).require(weights=True)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"weight_map": 3}', "{}", LFS.decode()])
@pytest.mark.parametrize("name", [INDEX, "pytorch_model.bin.index.json"])
def test_a_damaged_index_is_named(model: Path, text: str, name: str) -> None:
    if name != INDEX:
        for file in (INDEX, "a.safetensors", "b.safetensors"):
            (model / file).unlink()
        (model / "pytorch_model.bin").write_bytes(b"x")
    (model / name).write_text(text)
    with pytest.raises(ModelError, match=name):
        Checkpoint(model).require(weights=True)


@pytest.mark.parametrize("name", [INDEX, "tokenizer.json"])
def test_what_is_too_large_for_a_description_is_not_read(model: Path, name: str) -> None:
    (model / name).touch()
    os.truncate(model / name, 1 << 40)
    with pytest.raises(ModelError, match=f"{name} cannot be read: larger than"):
        Checkpoint(model).require(weights=True)


@pytest.mark.parametrize("names", ["model.layers.{}.mlp.up_proj.weight", "h.{}.attn.c_attn.weight"])
def test_weights_of_fewer_layers_than_the_configuration_has_are_named(model: Path, names: str) -> None:
    last = names.format(1)
    (model / "b.safetensors").write_bytes(safetensors(names.format(0), last, "lm_head.weight"))
    (model / INDEX).unlink()
    Checkpoint(model).require(weights=True)
    (model / "b.safetensors").write_bytes(safetensors(names.format(0), "lm_head.weight"))
    with pytest.raises(ModelError, match=r"has weights for 1 of the 2 layers"):
        Checkpoint(model).require(weights=True)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    Checkpoint(model).require(weights=True)


@pytest.mark.parametrize("key", ["vocab_size", "num_attention_heads", "hidden_size"])
@pytest.mark.parametrize("number", [0, -1])
def test_a_size_below_one_is_named(model: Path, key: str, number: int) -> None:
    sizes = {"vocab_size": 9, "num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 8, key: number}
    (model / "config.json").write_text(json.dumps(sizes))
    with pytest.raises(ModelError, match=f"{key} is {number}, not 1 or more"):
        _ = Checkpoint(model).kv_elements_a_token, Checkpoint(model).vocabulary_size


@pytest.mark.parametrize("text", ["", '{"model": ', LFS.decode()])
def test_a_damaged_tokenizer_is_named(model: Path, text: str) -> None:
    (model / "tokenizer.json").write_text(text)
    with pytest.raises(ModelError, match=r"tokenizer\.json is"):
        Checkpoint(model).require(weights=True)


def test_a_missing_tokenizer_is_said_where_the_engine_needs_one(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    Checkpoint(model).require(weights=True)
    with pytest.raises(ModelError, match="no tokenizer"):
        Checkpoint(model).require(weights=True, tokenizer=True)
