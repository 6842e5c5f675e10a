"""An exported FP8 checkpoint computed as an FP8 engine would, in plain PyTorch, on any device.

It reads nothing but the exported files, so it checks them and not the package that wrote them: each linear
layer multiplies FP8-rounded inputs by FP8-rounded weights, and keys and values are rounded as they enter the
cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, DynamicCache

from harness_llm.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = torch.finfo(torch.float8_e4m3fn).max  # 448


def round_to_fp8(values: torch.Tensor, scale: float) -> torch.Tensor:
    """The nearest multiples of `scale` that E4M3 can hold, saturated at 448, in the type of `values`."""
    return _in_units(values, scale).mul_(scale)


def _in_units(values: torch.Tensor, scale: float) -> torch.Tensor:
    """`values` over `scale`, as E4M3 holds them; a new tensor."""
    scaled = (values / scale).clamp_(-_LARGEST, _LARGEST)
    return scaled.to(torch.float8_e4m3fn).to(values.dtype)


class Rounding:
    """Rounds layer inputs, each once: q, k and v read the same one, gate and up another."""

    def __init__(self) -> None:
        self._read: tuple[torch.Tensor, float, torch.Tensor] | None = None

    def __call__(self, values: torch.Tensor, scale: float) -> torch.Tensor:
        """`values` in units of `scale`, as E4M3 holds them."""
        if self._read is None or self._read[0] is not values or self._read[1] != scale:
            self._read = values, scale, _in_units(values, scale)
        return self._read[2]


class RoundedLinear(torch.nn.Module):
    """Rounded inputs times rounded weights; these carry both scales, so that no input needs a product."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, input_scale: float, rounding: Rounding
    ) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight * input_scale, requires_grad=False)
        self.bias = None if bias is None else torch.nn.Parameter(bias, requires_grad=False)
        self._input_scale = input_scale
        self._rounding = rounding

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Round, then multiply."""
        rounded = self._rounding(values, self._input_scale)
        return torch.nn.functional.linear(rounded, self.weight, self.bias)


class RoundedCache(DynamicCache):  # type: ignore[misc]  # transformers is not followed
    """A key and value cache that holds FP8-rounded entries.

    Args:
        scales: Scale of keys and of values, one pair a layer, in order.
    """

    def __init__(self, scales: tuple[tuple[float, float], ...]) -> None:
        super().__init__()
        self._scales = scales

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Round, then store as usual; what attention reads is rounded too."""
        key_scale, value_scale = self._scales[layer_idx]
        stored: tuple[torch.Tensor, torch.Tensor] = super().update(
            round_to_fp8(key_states, key_scale),
            round_to_fp8(value_states, value_scale),
            layer_idx,
            *args,
            **kwargs,
        )
        return stored


def load_rounded(source: Path, quantized: Path) -> Any:
    """The source model in float32 with every quantized layer replaced by the exported one.

    Raises:
        ModelError: A tensor that is not quantized differs from the source's.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.float32, local_files_only=True
    ).eval()
    tensors = _read(quantized)
    scales = {name: value for name, value in tensors.items() if name.endswith("_scale")}
    rounding = Rounding()
    for name, value in tensors.items():
        if name in scales:
            continue
        owner, _, last = name.rpartition(".")
        module = model.get_submodule(owner)
        if value.dtype == torch.float8_e4m3fn:
            weight = value.float() * scales[f"{owner}.weight_scale"].float()
            input_scale = float(scales[f"{owner}.input_scale"])
            replacement = RoundedLinear(weight, module.bias, input_scale, rounding)
            parent, _, child = owner.rpartition(".")
            setattr(model.get_submodule(parent), child, replacement)
        elif not torch.equal(getattr(module, last).float(), value.float()):
            raise ModelError(f"{quantized}: {name} is not quantized, yet differs from the one in {source}")
    return model


def cache_scales(quantized: Path, layers: int) -> tuple[tuple[float, float], ...]:
    """Scale of keys and of values of each layer, as ModelOpt (`k_scale`) or Quark (`output_scale`) has it."""
    tensors = _read(quantized)

    def find(layer: int, kind: str) -> float:
        stem = f"model.layers.{layer}.self_attn.{kind}_proj"
        for name in (f"{stem}.{kind}_scale", f"{stem}.output_scale"):
            if name in tensors:
                return float(tensors[name])
        raise ModelError(f"{quantized}: layer {layer} has no scale for its cached {kind}")

    return tuple((find(layer, "k"), find(layer, "v")) for layer in range(layers))


def _read(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    return tensors
