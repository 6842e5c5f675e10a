"""An exported FP8 checkpoint: complete it with the tokenizer, and check what is in it before it is used."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open

from harness_llm.errors import HostError
from harness_llm.files import read_text

_LINEAR = re.compile(r"\.(q|k|v|o|gate|up|down)_proj\.weight$")
_COPIED = (
    "chat_template*", "generation_config.json", "merges.txt", "special_tokens_map.json",
    "tokenizer*", "vocab.*", "LICENSE*", "USE_POLICY*",
)  # fmt: skip


@dataclass(frozen=True)
class Contents:
    """What the weight files of a quantized checkpoint hold.

    Attributes:
        fp8_weights: Linear layers whose weights are FP8 (float8_e4m3fn).
        other_tensors: Tensors kept in the source's precision: embeddings, norms, lm_head.
        bytes: Size of the weight files, bytes.
        weight_scales: Smallest and largest per-tensor weight scale.
        input_scales: Smallest and largest static activation scale.
        kv_scales: Smallest and largest key and value cache scale.
    """

    fp8_weights: int
    other_tensors: int
    bytes: int
    weight_scales: tuple[float, float]
    input_scales: tuple[float, float]
    kv_scales: tuple[float, float]


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy tokenizer, chat template, generation settings and licence that the exporter did not write."""
    for pattern in _COPIED:
        for path in sorted(source.glob(pattern)):
            if path.is_file() and not (folder / path.name).exists():
                shutil.copyfile(path, folder / path.name)


def inspect(folder: Path) -> Contents:
    """Read an exported checkpoint back and check that every linear layer is FP8 with positive, finite scales.

    Raises:
        HostError: Something is missing or out of range; the export cannot be served as it is meant.
    """
    weights: dict[str, torch.dtype] = {}
    scales: dict[str, list[float]] = {"weight": [], "input": [], "kv": []}
    for name, kind, tensor in _tensors(folder):
        if kind is None:
            weights[name] = tensor.dtype
            continue
        values = tensor.float().flatten().tolist()
        if len(values) != 1 or not 0 < values[0] < float("inf"):
            raise HostError(
                f"{folder}: {name} is {values[:3]}, not one positive scale; the export is unusable"
            )
        scales[kind].append(values[0])
    _check_layers(folder, weights, scales)
    return Contents(
        fp8_weights=sum(dtype == torch.float8_e4m3fn for dtype in weights.values()),
        other_tensors=sum(dtype != torch.float8_e4m3fn for dtype in weights.values()),
        bytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        weight_scales=_range(scales["weight"]),
        input_scales=_range(scales["input"]),
        kv_scales=_range(scales["kv"]),
    )


def _tensors(folder: Path) -> Iterator[tuple[str, str | None, torch.Tensor]]:
    """Every tensor: name, kind of scale or None, and its value (of a weight, only its first row)."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                kind = _scale_kind(name)
                yield name, kind, file.get_tensor(name) if kind else file.get_slice(name)[:1]


def _scale_kind(name: str) -> str | None:
    """Quark calls the cache scales `k_proj.output_scale`, ModelOpt `k_proj.k_scale`."""
    last = name.rsplit(".", 1)[-1]
    if last in {"k_scale", "v_scale", "output_scale"}:
        return "kv"
    return {"weight_scale": "weight", "input_scale": "input"}.get(last)


def _check_layers(folder: Path, weights: dict[str, torch.dtype], scales: dict[str, list[float]]) -> None:
    linear = [name for name in weights if _LINEAR.search(name)]
    if not linear:
        raise HostError(f"{folder}: the export has no linear layers")
    for name in linear:
        if weights[name] != torch.float8_e4m3fn:
            raise HostError(f"{folder}: {name} is {weights[name]}, not float8_e4m3fn; the export is unusable")
    if weights.get("lm_head.weight") == torch.float8_e4m3fn:
        raise HostError(f"{folder}: lm_head is FP8, but must stay in the source's precision")
    attention = sum(name.endswith(("k_proj.weight", "v_proj.weight")) for name in linear)
    wanted = {"weight": len(linear), "input": len(linear), "kv": attention}
    for kind, count in wanted.items():
        if len(scales[kind]) != count:
            raise HostError(
                f"{folder}: {len(scales[kind])} {kind} scales for {count} layers; the export is unusable"
            )


def _range(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)


def is_complete(folder: Path) -> bool:
    """Whether the folder's index, where it has one, names only weight files that are there."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return (folder / "model.safetensors").is_file()
    names = set(json.loads(read_text(index))["weight_map"].values())
    return all((folder / name).is_file() for name in names)
