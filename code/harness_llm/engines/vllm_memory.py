"""What vLLM needs of a device's memory to serve, estimated from below: what fits is never refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness_llm.checkpoint import Checkpoint
from harness_llm.engines.vllm_arguments import as_read

_DEFAULT_UTILIZATION = (
    0.92  # vLLM's own, the largest of the versions that the project knows (vllm/config/cache.py)
)
_TWO_BYTES, _FOUR_BYTES = 2, 4
_CPU_CACHE = (
    "VLLM_CPU_KVCACHE_SPACE"  # GiB; kv_cache_memory_bytes goes before it (vllm/v1/worker/cpu_worker.py)
)
_WIDE = ("float32", "float")


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes on each device of a replica; 0 where the checkpoint does not tell.

    Attributes:
        weights: Its part of the weights.
        sequence: KV cache of one sequence of the greatest length.
        all_sequences: KV cache of as many as run at once.
        concurrent: How many those are.
        length: Tokens of the greatest length.
        share: Part of the device's memory that the engine may take.
        cache: What the KV cache is given by a setting; None where it takes what is left.
        cache_from: That setting.
    """

    weights: int
    sequence: int
    all_sequences: int
    concurrent: int
    length: int
    share: float
    cache: int | None = None
    cache_from: str = ""


def memory_need(
    arguments: Mapping[str, Any], checkpoint: Checkpoint, length: int | None, cpu: Mapping[str, str] | None
) -> MemoryNeed | None:
    """What one device of a replica must hold; None where the arguments change or move it.

    Args:
        arguments: `llm_config`.
        checkpoint: Its model.
        length: Longest prompt plus answer, tokens.
        cpu: The variables of the engine's process where its device is a CPU; None where it is none.
    """
    arguments = as_read(arguments)
    if arguments.get("quantization") and not checkpoint.is_quantized:
        return None  # quantized while it loads
    if arguments.get("cpu_offload_gb"):
        return None
    tensor = int(arguments.get("tensor_parallel_size") or 1)
    pipeline = int(arguments.get("pipeline_parallel_size") or 1)
    concurrent = int(arguments.get("max_num_seqs") or 1)
    given = arguments.get("kv_cache_memory_bytes")
    cache, cache_from = _cache(given, cpu or {})
    sequence = (length or 0) * _kv_bytes_a_token(arguments, checkpoint, tensor) // pipeline
    return MemoryNeed(
        weights=_weight_bytes(arguments, checkpoint) // (tensor * pipeline),
        sequence=sequence,
        all_sequences=sequence * concurrent,
        concurrent=concurrent,
        length=length or 0,
        share=1.0 if given else float(arguments.get("gpu_memory_utilization") or _DEFAULT_UTILIZATION),
        cache=cache,
        cache_from=cache_from,
    )


def _cache(given: object, cpu: Mapping[str, str]) -> tuple[int | None, str]:
    """What a setting gives the KV cache, and its name; vLLM takes the argument as a text, too: `10G`."""
    if given:
        return (given if type(given) is int else None), "llm_config.kv_cache_memory_bytes"
    gib = cpu.get(_CPU_CACHE, "")
    return (int(gib) << 30, _CPU_CACHE) if gib.isdecimal() and int(gib) else (None, "")


def _weight_bytes(arguments: Mapping[str, Any], checkpoint: Checkpoint) -> int:
    """As they lie in the files, except that wide ones are narrowed where vLLM does that."""
    keeps_wide = arguments.get("dtype") in _WIDE
    return sum(
        size // 2 if dtype == "F32" and not keeps_wide else size
        for dtype, size in checkpoint.weight_bytes.items()
    )


def _kv_bytes_a_token(arguments: Mapping[str, Any], checkpoint: Checkpoint, tensor: int) -> int:
    shape = checkpoint.kv_elements_a_token
    if shape is None:
        return 0
    heads, elements = shape
    kind = str(arguments.get("kv_cache_dtype") or "auto")
    if kind.startswith(("fp8", "int8", "nvfp4")):
        size = 1
    elif kind == "auto" and arguments.get("dtype") in _WIDE:
        size = _FOUR_BYTES
    else:
        size = _TWO_BYTES
    return -(-heads // tensor) * elements * size
