"""The folder of a checkpoint holds what is no file, or files that say what cannot be."""

from __future__ import annotations

import functools
import json
import os
import struct
from typing import TYPE_CHECKING, Any

from fault_kinds.fault import Fault, Seen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fault_kinds.rig import Rig

_AREA = "A checkpoint is not what it should be"
_CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 100, "hidden_size": 8,
    "num_hidden_layers": 1, "num_attention_heads": 1, "max_position_embeddings": 256,
}  # fmt: skip
_HEADER = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
_WEIGHTS = struct.pack("<Q", len(_HEADER)) + _HEADER + bytes(4)


def checkpoint(name: str, harm: Callable[[Path], object]) -> Callable[[Rig], Seen]:
    """`prepare` of a checkpoint of which one file was harmed; nothing of it is ever loaded."""

    def provoke(rig: Rig) -> Seen:
        model = rig.folder / "model"
        model.mkdir()
        (model / "config.json").write_text(json.dumps(_CONFIG))
        (model / "model.safetensors").write_bytes(_WEIGHTS)
        (model / "tokenizer.json").write_text("{}")
        harm(model / name)
        rig.llm = {"model": str(model)}
        rig.harness["engine"] = "vllm"
        return rig.verb("prepare", "--config", str(rig.config("Offline")), "--test", "performance")

    return provoke


def _fifo(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def _link(to: str) -> Callable[[Path], None]:
    def harm(file: Path) -> None:
        file.unlink(missing_ok=True)
        file.symlink_to(to)

    return harm


def _text(text: str) -> Callable[[Path], object]:
    return lambda file: file.write_text(text)


def _config(**keys: Any) -> Callable[[Rig], Seen]:
    return checkpoint("config.json", _text(json.dumps(_CONFIG | keys)))


def _huge(file: Path) -> None:
    file.touch()
    os.truncate(file, 1 << 40)


_refused = functools.partial(Fault, _AREA, code=2, within_s=20)
_INDEX = "model.safetensors.index.json"
_LOOP = "Too many levels of symbolic links"

FAULTS = (
    _refused(
        "the weights are a named pipe",
        checkpoint("model.safetensors", _fifo),
        says=("model.safetensors", "is a named pipe"),
        in_ci=True,
    ),
    _refused(
        "the weights are a device",
        checkpoint("model.safetensors", _link("/dev/zero")),
        says=("model.safetensors", "is a device"),
    ),
    _refused(
        "the weights are a link to itself",
        checkpoint("model.safetensors", _link("model.safetensors")),
        says=("model.safetensors", _LOOP),
    ),
    _refused(
        "the weights are a link to nowhere",
        checkpoint("model.safetensors", _link("nowhere")),
        says=("model.safetensors", "which is not there"),
    ),
    _refused(
        "the weights are cut",
        checkpoint("model.safetensors", lambda file: os.truncate(file, 60)),
        says=("model.safetensors", "cut short"),
    ),
    _refused(
        "the weights are empty",
        checkpoint("model.safetensors", lambda file: os.truncate(file, 0)),
        says=("model.safetensors is empty",),
    ),
    _refused(
        "the weights are a pointer of Git LFS",
        checkpoint("model.safetensors", _text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")),
        says=("model.safetensors", "Git LFS"),
    ),
    _refused(
        "a file that the index names is missing",
        checkpoint(_INDEX, _text(json.dumps({"weight_map": {"w": "model-00002-of-00002.safetensors"}}))),
        says=("model-00002-of-00002.safetensors is missing",),
    ),
    _refused("the index is a named pipe", checkpoint(_INDEX, _fifo), says=(_INDEX, "is a named pipe")),
    _refused("the index is 1 TB of zeros", checkpoint(_INDEX, _huge), says=(_INDEX, "larger than")),
    _refused(
        "the tokenizer is a named pipe",
        checkpoint("tokenizer.json", _fifo),
        says=("tokenizer.json", "is a named pipe"),
    ),
    _refused(
        "the tokenizer is 1 TB of zeros",
        checkpoint("tokenizer.json", _huge),
        says=("tokenizer.json", "larger than"),
    ),
    _refused(
        "the tokenizer is cut",
        checkpoint("tokenizer.json", _text("{")),
        says=("tokenizer.json", "cut short or not valid JSON"),
    ),
    _refused("config.json is a named pipe", checkpoint("config.json", _fifo), says=("config.json",)),
    _refused("config.json is a device", checkpoint("config.json", _link("/dev/zero")), says=("config.json",)),
    _refused("config.json is 1 TB of zeros", checkpoint("config.json", _huge), says=("larger than",)),
    _refused(
        "config.json is nested 200,000 deep",
        checkpoint("config.json", _text("[" * 200_000)),
        says=("config.json", "not valid JSON"),
    ),
    _refused(
        "config.json is a list",
        checkpoint("config.json", _text("[]")),
        says=("config.json", "expected keys and values"),
    ),
    _refused(
        "config.json: no attention heads",
        _config(num_attention_heads=0),
        says=("num_attention_heads is 0, not 1 or more",),
    ),
    _refused(
        "config.json: a vocabulary of NaN",
        _config(vocab_size=float("nan")),
        says=("vocab_size is nan, not a whole number",),
    ),
    _refused(
        "config.json: the end of text is text",
        _config(eos_token_id="two"),
        says=("eos_token_id is 'two', not token ids",),
    ),
)
