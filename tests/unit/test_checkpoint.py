"""What is asked of a model folder, and what a damaged file in it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness_llm.checkpoint import Checkpoint
from harness_llm.errors import ModelError

CONFIG, GENERATION = "config.json", "generation_config.json"


def _checkpoint(folder: Path, **files: Any) -> Checkpoint:
    """A folder with these files; text is written as it is, everything else as JSON."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text)
    return Checkpoint(folder)


def test_what_the_configuration_says(tmp_path: Path) -> None:
    config = {"model_type": "llama", "vocab_size": 32000, "max_position_embeddings": 2048}
    found = _checkpoint(tmp_path, config=config)
    assert (found.model_type, found.vocabulary_size, found.max_positions) == ("llama", 32000, 2048)
    assert not found.is_quantized


def test_what_mistrals_own_format_says(tmp_path: Path) -> None:
    found = _checkpoint(tmp_path, params={"vocab_size": 32768, "max_seq_len": 8192})
    assert (found.vocabulary_size, found.max_positions) == (32768, 8192)
    found.require(weights=False)


def test_a_model_that_sees_images_is_known_by_its_language_part(tmp_path: Path) -> None:
    text = {"vocab_size": 151936, "max_position_embeddings": 4096, "eos_token_id": 7}
    found = _checkpoint(tmp_path, config={"model_type": "vision", "vocab_size": 5, "text_config": text})
    assert (found.vocabulary_size, found.max_positions, found.end_tokens) == (151936, 4096, {7})


def test_a_gguf_file_is_refused_with_what_to_use_instead(tmp_path: Path) -> None:
    file = tmp_path / "model.Q4_K_M.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="a GGUF file, which vLLM does not load any more") as caught:
        Checkpoint(file).require(weights=True)
    assert "config.json and *.safetensors" in caught.value.remedy


def test_the_address_of_a_server_is_no_folder_and_says_where_it_goes() -> None:
    with pytest.raises(ModelError, match="no such checkpoint folder") as caught:
        Checkpoint(Path("http://127.0.0.1:8000/v1")).require(weights=False)
    assert "kind: openai" in caught.value.remedy and "init --server" in caught.value.remedy


def test_a_quantized_checkpoint_says_so(tmp_path: Path) -> None:
    assert _checkpoint(tmp_path, config={"quantization_config": {}}).is_quantized


def test_a_folder_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    found = Checkpoint(tmp_path / "nowhere")
    assert (found.config, found.vocabulary_size, found.max_positions) == ({}, None, None)
    assert found.end_tokens == frozenset()


@pytest.mark.parametrize(
    ("generation", "config", "ends"),
    [
        (2, 3, {2}),
        ([2, 5], 3, {2, 5}),
        (None, [3], {3}),
        (None, None, set()),
    ],
)
def test_end_tokens_are_the_generation_configs_before_the_configs(
    tmp_path: Path, generation: object, config: object, ends: set[int]
) -> None:
    found = _checkpoint(
        tmp_path, generation_config={"eos_token_id": generation}, config={"eos_token_id": config}
    )
    assert found.end_tokens == ends


@pytest.mark.parametrize("damage", ["", "{", "[]", '"text"', "\0\1"])
@pytest.mark.parametrize("name", [CONFIG, GENERATION])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, name: str, damage: str) -> None:
    (tmp_path / CONFIG).write_text('{"eos_token_id": 2}')
    (tmp_path / name).write_text(damage)
    with pytest.raises(ModelError) as caught:
        _ = Checkpoint(tmp_path).end_tokens, Checkpoint(tmp_path).vocabulary_size
    assert str(tmp_path / name) in str(caught.value)


def test_bytes_that_are_not_text_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / GENERATION).write_bytes(b"\xff\xfe{")
    with pytest.raises(ModelError, match=GENERATION):
        _ = Checkpoint(tmp_path).end_tokens


@pytest.mark.parametrize(
    ("files", "asked", "named"),
    [
        ({"generation_config": {"eos_token_id": "</s>"}}, "end_tokens", "eos_token_id is '</s>'"),
        ({"config": {"eos_token_id": [1, None]}}, "end_tokens", f"{CONFIG}: eos_token_id"),
        ({"config": {"vocab_size": "many"}}, "vocabulary_size", f"{CONFIG}: vocab_size is 'many'"),
        ({"config": {"max_position_embeddings": 1.5}}, "max_positions", "max_position_embeddings is 1.5"),
        ({"config": {}}, "model_type", f"{CONFIG}: has no model_type"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_an_error(
    tmp_path: Path, files: dict[str, Any], asked: str, named: str
) -> None:
    with pytest.raises(ModelError) as caught:
        getattr(_checkpoint(tmp_path, **files), asked)
    assert named in str(caught.value)


def test_what_is_missing_is_said_in_the_order_in_which_it_is_needed(tmp_path: Path) -> None:
    model = tmp_path / "m"
    with pytest.raises(ModelError, match="no such checkpoint folder"):
        Checkpoint(model).require(weights=False)
    model.mkdir()
    with pytest.raises(ModelError, match="no config.json"):
        Checkpoint(model).require(weights=False)
    (model / CONFIG).write_text("{}")
    Checkpoint(model).require(weights=False)
    with pytest.raises(ModelError, match="no weights"):
        Checkpoint(model).require(weights=True)
    (model / "model.safetensors").touch()
    with pytest.raises(ModelError, match="is empty"):
        Checkpoint(model).require(weights=True)


def _with_weights(folder: Path, weights: bytes = b"weights") -> Checkpoint:
    folder.mkdir()
    (folder / CONFIG).write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(weights)
    return Checkpoint(folder)


def test_the_quick_digest_sees_a_changed_byte_at_either_end(tmp_path: Path) -> None:
    long = bytes(3 << 20)
    first = _with_weights(tmp_path / "a", long).quick_digest()
    assert _with_weights(tmp_path / "b", long).quick_digest() == first
    assert _with_weights(tmp_path / "c", b"x" + long[1:]).quick_digest() != first
    assert _with_weights(tmp_path / "d", long[1:] + b"x").quick_digest() != first
    assert _with_weights(tmp_path / "e", long + b"\0").quick_digest() != first


def test_the_quick_digest_sees_a_changed_config(tmp_path: Path) -> None:
    found = _with_weights(tmp_path / "a")
    before = found.quick_digest()
    (found.path / CONFIG).write_text('{"model_type": "mistral"}')
    assert found.quick_digest() != before


def test_no_quick_digest_of_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        Checkpoint(tmp_path / "nowhere").quick_digest()
    found = _with_weights(tmp_path / "a")
    (found.path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no .*safetensors weights"):
        found.quick_digest()


@pytest.mark.parametrize(
    ("name", "offer"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "harness-llm fetch --model meta-llama/Llama-3.1-8B-Instruct`"),
        ("/model/llama", "Run download_model.py"),
        ("./models/llama/fp8", "Run download_model.py"),
    ],
)
def test_a_name_of_the_hub_offers_the_command_that_gets_it(name: str, offer: str) -> None:
    with pytest.raises(ModelError) as caught:
        Checkpoint(Path(name)).require(weights=True)
    assert offer in caught.value.remedy
