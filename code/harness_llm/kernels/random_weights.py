"""`load_format: random`: weights of a realistic spread, made on the device, for any architecture of vLLM's.

vLLM's own `dummy` weights lie within 0.001, which in FP8 is nearly all zeros: the card then draws less
power, keeps a higher clock and looks about 12 % faster than with a checkpoint. Here numbers are Gaussian,
and FP8 codes fill the type's range as a checkpoint's do. Each tensor is drawn from its own generator,
seeded by its name, so a model is the same on every start, whatever the order, as long as the device shows the
same number of processors (an MPS share shows fewer); the ranks of a tensor-parallel group draw alike, as
tensors that they share must be equal.

Answers of such a model mean nothing: it measures speed alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from vllm.model_executor.layers.quantization.base_config import QuantizeMethodBase
from vllm.model_executor.model_loader import register_model_loader
from vllm.model_executor.model_loader.base_loader import BaseModelLoader
from vllm.model_executor.model_loader.reload.layerwise import _get_original_loader, get_layerwise_info
from vllm.model_executor.model_loader.reload.meta import materialize_layer
from vllm.model_executor.model_loader.reload.utils import get_layer_tensors

from harness_llm.kernels import tally
from harness_llm.kernels.spread import RandomSpread, spread_of
from harness_llm.kernels.switch import RANDOM

_CHUNK = 1 << 26  # elements drawn at once: 256 MiB of float32 beside the weights


@dataclass
class _Made:
    """What was filled, for the record."""

    tensors: int = 0
    parameters: int = 0
    bytes: int = 0


class RandomWeights(BaseModelLoader):  # type: ignore[misc]  # vLLM has no types for us
    """vLLM's loader for `load_format: random`.

    `model_loader_extra_config` may hold `seed`, a whole number; 0 without it.
    """

    def __init__(self, load_config: Any) -> None:
        super().__init__(load_config)
        extra = dict(load_config.model_loader_extra_config or {})
        self._seed = extra.pop("seed", 0)
        if extra or type(self._seed) is not int:
            raise ValueError(
                "the load format random takes `seed`, a whole number, in model_loader_extra_config, and "
                f"nothing else; found {load_config.model_loader_extra_config!r}"
            )

    def download_model(self, model_config: Any) -> None:
        """Nothing to download."""

    def load_weights(self, model: torch.nn.Module, model_config: Any) -> None:
        """Fill every parameter and persistent buffer, in the layout of a checkpoint."""
        made = _Made()
        done: set[int] = set()
        for prefix, layer in model.named_modules():
            info = get_layerwise_info(layer)
            online = info.can_load()  # quantized while it is loaded: its weights have no memory yet
            if online:
                materialize_layer(layer, info)
            for name, tensor in _own_tensors(layer, online=online):
                if tensor.device.type == "meta" or tensor.data_ptr() in done:
                    continue
                fill(tensor, f"{prefix}.{name}", self._seed)
                if tensor.numel():
                    done.add(tensor.data_ptr())
                made.tensors += 1
                made.parameters += tensor.numel()
                made.bytes += tensor.numel() * tensor.element_size()
            if online:
                _quantize(layer, info)
        tally.note(
            "random_weights",
            {
                "seed": self._seed,
                "tensors": made.tensors,
                "parameters": made.parameters,
                "bytes": made.bytes,
            },
        )


@torch.no_grad()
def fill(tensor: torch.Tensor, name: str, seed: int) -> None:
    """Draw a tensor anew, in place.

    Args:
        tensor: On any device; strided as it likes.
        name: Its full name in the model: with the seed it decides the numbers.
        seed: Of the model.
    """
    spread = spread_of(name, str(tensor.dtype).removeprefix("torch."), tensor.dim())
    if spread.width == 0:
        if spread.centre is not None:
            tensor.fill_(spread.centre)
        return
    generator = torch.Generator(device=tensor.device)
    generator.manual_seed((seed << 32) ^ zlib.crc32(name.encode()))
    flat = _flat(tensor)
    for start in range(0, flat.numel(), _CHUNK):
        chunk = flat[start : start + _CHUNK]
        chunk.copy_(_draw(chunk, spread, generator))
    if flat.data_ptr() != tensor.data_ptr():
        tensor.copy_(flat.view(tensor.shape))


def register() -> None:
    """Offer the load format to vLLM."""
    register_model_loader(RANDOM)(RandomWeights)


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's own memory as one row where it is dense, else a new row to be copied back."""
    data = tensor.data
    if data.is_contiguous():
        return data.view(-1)
    if data.dim() == 2 and data.t().is_contiguous():  # a transposed matrix
        return data.t().view(-1)
    return torch.empty(data.numel(), dtype=data.dtype, device=data.device)


def _draw(like: torch.Tensor, spread: RandomSpread, generator: torch.Generator) -> torch.Tensor:
    """Numbers for a piece of a tensor, in its type."""
    if like.dtype.is_floating_point:
        drawn = torch.randn(like.numel(), generator=generator, device=like.device) * spread.width
        if spread.limit is not None:
            drawn.clamp_(-spread.limit, spread.limit)
        return drawn.to(like.dtype)
    bits = torch.iinfo(like.dtype)
    return torch.randint(
        bits.min, bits.max + 1, (like.numel(),), generator=generator, device=like.device, dtype=torch.int64
    ).to(like.dtype)


def _own_tensors(layer: torch.nn.Module, *, online: bool) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and persistent buffers of this very layer, as a checkpoint holds them."""
    if online:
        yield from get_layer_tensors(layer).items()
        return
    for name, parameter in layer._parameters.items():
        if parameter is not None:
            yield name, parameter
    for name, buffer in layer._buffers.items():
        if buffer is not None and name not in layer._non_persistent_buffers_set:
            yield name, buffer


def _quantize(layer: torch.nn.Module, info: Any) -> None:
    """Let vLLM quantize a layer that is now complete (as vllm's DummyModelLoader does)."""
    for tensor in get_layer_tensors(layer).values():
        tensor.weight_loader = _get_original_loader(tensor)
    method = getattr(layer, "quant_method", None)
    if isinstance(method, QuantizeMethodBase):
        method.process_weights_after_loading(layer)
    info.reset()
