"""A model folder in Hugging Face's layout: what its JSON files say, and which weights it holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from harness_llm.checkpoint_files import NotWhole, Tensor, check_tokenizer, check_weights, tensors
from harness_llm.errors import ModelError
from harness_llm.files import open_regular, read_regular, read_text

STARTING_CHECKPOINT = "starting_checkpoint.json"
"""In a quantized checkpoint's folder: `{"model_digest": ...}` of the checkpoint that it was made from."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_LAYER = re.compile(r"\b(?:layers|h)\.(\d+)\.")  # model.layers.79.mlp.down_proj.weight
_CHUNK = 1 << 20
_LARGEST_DESCRIPTION = 64 << 20  # bytes; a larger file holds weights
_MISTRAL = "params.json"
_MISTRAL_NAMES = {"max_position_embeddings": ("max_seq_len",)}
"""Mistral's names (vllm/transformers_utils/configs/mistral.py, adapt_config_dict, 0.32.0)."""

_SIZES = (
    "vocab_size", "hidden_size", "head_dim", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads",
)  # fmt: skip
_OTHER_ATTENTION = (
    "kv_lora_rank", "sliding_window", "layer_types", "text_config", "full_attention_interval", "ssm_cfg",
    "layers_block_type", "hybrid_override_pattern", "attention_chunk_size",
)  # fmt: skip
_AGAIN = "Download the model again."


@dataclass(frozen=True)
class Checkpoint:
    """One model folder; a file is opened when it is asked for, and once.

    Every property raises ModelError, which names the file, where that file is damaged.

    Attributes:
        path: The folder.
        generation: Where its generation_config.json is, as vLLM's argument `generation_config` says: `auto`,
            in the folder; `vllm`, nowhere; or another folder.
    """

    path: Path
    generation: str = "auto"

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json, or params.json in Mistral's own format; empty where there is neither."""
        return self._read("config.json") or self._read(_MISTRAL)

    @cached_property
    def generation_config(self) -> dict[str, Any]:
        """generation_config.json; empty where there is none."""
        if self.generation == "vllm":
            return {}
        folder = self.path if self.generation == "auto" else Path(self.generation)
        return Checkpoint(folder)._read("generation_config.json")

    @property
    def model_type(self) -> str:
        """Name of the architecture, such as `llama`.

        Raises:
            ModelError: config.json has none.
        """
        found = self.config.get("model_type")
        if not isinstance(found, str):
            raise ModelError(f"{self.path / 'config.json'}: has no model_type", _AGAIN)
        return found

    @property
    def is_quantized(self) -> bool:
        """Whether its weights were quantized."""
        return "quantization_config" in self.config

    @property
    def vocabulary_size(self) -> int | None:
        """Token ids are below this; None where config.json does not say."""
        return self._number("vocab_size")

    @property
    def max_positions(self) -> int | None:
        """Longest prompt plus answer, tokens; None where config.json does not say."""
        return self._number("max_position_embeddings")

    @property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end a sequence, by generation_config.json, else config.json; empty if neither says."""
        for name, found in (
            ("generation_config.json", self.generation_config),
            ("config.json", self.config),
            ("config.json", self._text_config),
        ):
            ends = found.get("eos_token_id")
            if ends is None:
                continue
            tokens = ends if isinstance(ends, list) else [ends]
            if not all(type(token) is int for token in tokens):
                raise ModelError(f"{self.path / name}: eos_token_id is {ends!r}, not token ids", _AGAIN)
            return frozenset(tokens)
        return frozenset()

    @property
    def has_weights(self) -> bool:
        """Whether any file of weights lies in the folder."""
        return any(self.path.glob("*.safetensors")) or any(self.path.glob("*.bin"))

    def require(self, *, weights: bool, tokenizer: bool = False) -> None:
        """Look at what is missing or not whole now, not after a load of minutes.

        Args:
            weights: Whether it must hold weights, too.
            tokenizer: Whether it must hold a tokenizer, too.

        Raises:
            ModelError: The folder, its configuration, its weights or its tokenizer are missing or not whole.
        """
        if self.path.suffix == ".gguf":
            raise ModelError(
                f"{self.path}: a GGUF file, which vLLM does not load any more",
                "Use the checkpoint that it was made from, a folder with config.json and *.safetensors.",
            )
        if not self.path.is_dir():
            raise ModelError(f"{self.path}: no such checkpoint folder (llm_config.model)", self._how_to_get())
        if not any((self.path / name).is_file() for name in ("config.json", _MISTRAL)):
            raise ModelError(f"{self.path}: has no config.json: not a Hugging Face checkpoint")
        _ = self.config, self.generation_config  # each says what is wrong with it
        if weights and not self.has_weights:
            raise ModelError(f"{self.path}: holds no weights (*.safetensors)", _AGAIN)
        if weights:
            check_weights(self.path)
            self._require_layers()
        check_tokenizer(self.path, must_have=tokenizer)

    def _require_layers(self) -> None:
        """An engine notices missing layers only after it has read all the others."""
        numbers = [int(found[1]) for name, _ in self._weights if (found := _LAYER.search(name))]
        asked = self._number("num_hidden_layers")
        if asked is not None and numbers and (held := max(numbers) + 1) < asked:
            raise ModelError(
                f"{self.path}: has weights for {held} of the {asked} layers in its config.json",
                _AGAIN,
            )

    @cached_property
    def _weights(self) -> list[tuple[str, Tensor]]:
        files = self.path.glob("*.safetensors")
        return [found for file in files for found in _tensors(file).items()]

    @cached_property
    def weight_bytes(self) -> Mapping[str, int]:
        """Bytes of all tensors by their type, such as `BF16`; empty without safetensors files.

        Raises:
            ModelError: A file is not whole.
        """
        found: Counter[str] = Counter()
        for _, tensor in self._weights:
            found[tensor.dtype] += tensor.end - tensor.start
        return found

    @property
    def kv_elements_a_token(self) -> tuple[int, int] | None:
        """Key-value heads, and numbers that one token keeps in one of them over all layers.

        None where the attention is of a kind of its own (latent, windowed, mixed with others) or is not said.
        """
        if any(self.config.get(key) for key in _OTHER_ATTENTION):
            return None
        layers, heads = self._number("num_hidden_layers"), self._number("num_attention_heads")
        width, size = self._number("hidden_size"), self._number("head_dim")
        if layers is None or heads is None or (size is None and width is None):
            return None
        return self._number("num_key_value_heads") or heads, 2 * layers * (size or (width or 0) // heads)

    def quick_digest(self) -> str:
        """SHA-256 over config.json and, of each safetensors file, its name, size, head and tail.

        Reading 140 GB for a name would take minutes; one MiB at either end of a safetensors file holds its
        whole index of tensors and some of its weights.

        Raises:
            ModelError: The folder is missing, or holds no config.json or no safetensors weights.
        """
        config = self.path / "config.json"
        if not config.is_file():
            raise ModelError(
                f"{self.path}: no Hugging Face checkpoint (config.json is missing)",
                "Download the model first.",
            )
        files = sorted(self.path.glob("*.safetensors"))
        if not files:
            raise ModelError(
                f"{self.path}: holds no *.safetensors weights", "Download the model first, or again."
            )
        state = hashlib.sha256(read_regular(config))
        for path in files:
            size = path.stat().st_size
            state.update(f"{path.name}:{size}".encode())
            with open_regular(path) as file:
                state.update(file.read(_CHUNK))
                file.seek(max(0, size - _CHUNK))
                state.update(file.read(_CHUNK))
        return state.hexdigest()

    def content(self) -> dict[str, str]:
        """Each file, by its path in the folder, and what it is known by, within milliseconds.

        Of safetensors that is size, time of change and the digest of its header; of other weights size and
        time; of the rest the digest.
        """
        found: dict[str, str] = {}
        for path in sorted(self.path.rglob("*")):
            name = str(path.relative_to(self.path))
            if any(part.startswith(".") for part in path.relative_to(self.path).parts) or not path.is_file():
                continue
            status = path.stat()
            found[name] = f"{status.st_size} bytes"
            if path.suffix == ".safetensors" or status.st_size > _LARGEST_DESCRIPTION:
                found[name] += (
                    f", changed {datetime.fromtimestamp(status.st_mtime, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
                )
            if path.suffix == ".safetensors":
                with open_regular(path) as file:
                    length = int.from_bytes(file.read(8), "little")
                    found[name] += (
                        f", header {hashlib.sha256(file.read(min(length, _CHUNK))).hexdigest()[:16]}"
                    )
            elif status.st_size <= _LARGEST_DESCRIPTION:
                found[name] += f", {hashlib.sha256(read_regular(path)).hexdigest()[:16]}"
        return found

    @property
    def _text_config(self) -> dict[str, Any]:
        """What config.json says of the language part of a model that takes images or sound, too."""
        found = self.config.get("text_config")
        return found if isinstance(found, dict) else {}

    def _how_to_get(self) -> str:
        """What to do about a folder that is not there; a name of the hub is no folder, but can be fetched."""
        if str(self.path).startswith(("http:/", "https:/")):
            return (
                "A server that runs is an engine: write engine: {kind: openai, base_urls: [URL]}, and its "
                "tokenizer's folder as llm_config.model; `harness-llm init --server URL` writes both."
            )
        if _HUB_NAME.fullmatch(str(self.path)):
            return (
                f"Get it with `harness-llm fetch --model {self.path}`, and write the folder that it prints "
                "as llm_config.model."
            )
        return "Run download_model.py, or set LAB_MODEL to where the models are."

    def _read(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            found = json.loads(read_text(path))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{path}: not valid JSON: {error}", _AGAIN) from error
        if not isinstance(found, dict):
            raise ModelError(f"{path}: expected keys and values, found {type(found).__name__}", _AGAIN)
        return found

    def _number(self, name: str) -> int | None:
        names = (name, *_MISTRAL_NAMES.get(name, ()))
        parts = (self._text_config, self.config)
        found = next((part[key] for part in parts for key in names if part.get(key) is not None), None)
        if found is not None and type(found) is not int:
            raise ModelError(f"{self.path / 'config.json'}: {name} is {found!r}, not a whole number", _AGAIN)
        if found is not None and found < 1 and name in _SIZES:
            raise ModelError(f"{self.path / 'config.json'}: {name} is {found}, not 1 or more", _AGAIN)
        return found


def weights_digest(folder: Path) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor in the folder's safetensors files.

    Equal for equal weights, however they are sharded and whichever version of a library saved them. A folder
    with a starting_checkpoint.json answers with the digest in it: a quantized checkpoint is judged by the
    reference of the checkpoint that it was made from.

    Raises:
        ModelError: The folder holds no safetensors files, or a damaged one.
    """
    starting = folder / STARTING_CHECKPOINT
    try:
        if starting.is_file():
            return str(json.loads(read_text(starting))["model_digest"])
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise ModelError(f"{folder}: holds no .safetensors file", "Get the model with download_model.py.")
        held = sorted(
            ((name, tensor, file) for file in files for name, tensor in _tensors(file).items()),
            key=lambda entry: entry[0],
        )
        state = hashlib.sha256()
        for name, tensor, file in held:
            state.update(json.dumps([name, tensor.dtype, tensor.shape]).encode())
            _update(state, file, tensor.start, tensor.end)
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ModelError(
            f"{folder}: cannot be read as a checkpoint: {error}", "Fetch or convert the model again."
        ) from error
    return state.hexdigest()


def _tensors(file: Path) -> dict[str, Tensor]:
    """The header of a safetensors file.

    Raises:
        ModelError: It is not whole.
    """
    try:
        return tensors(file)
    except NotWhole as error:
        raise ModelError(f"{file} {error}", "Fetch or convert the model again.") from error


def _update(state: Any, file: Path, start: int, end: int) -> None:
    with open_regular(file) as opened:
        opened.seek(start)
        while start < end:
            chunk = opened.read(min(_CHUNK, end - start))
            if not chunk:
                raise ValueError(f"{file.name} is cut short")
            state.update(chunk)
            start += len(chunk)
