"""What vLLM needs of a device's memory to serve, estimated from below: what fits is never refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness_llm.checkpoint import Checkpoint

_DEFAULT_UTILIZATION = (
    0.92  # vLLM's own, the largest of the versions that the project knows (vllm/config/cache.py)
)
_TWO_BYTES = 2


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
    """

    weights: int
    sequence: int
    all_sequences: int
    concurrent: int
    length: int
    share: float


def memory_need(
    arguments: Mapping[str, Any], checkpoint: Checkpoint, length: int | None
) -> MemoryNeed | None:
    """What one device of a replica must hold; None where the arguments change or move it.

    Args:
        arguments: `llm_config`.
        checkpoint: Its model.
        length: Longest prompt plus answer, tokens.
    """
    if arguments.get("quantization") and not checkpoint.is_quantized:
        return None  # quantized while it loads
    if arguments.get("cpu_offload_gb") or arguments.get("kv_cache_memory_bytes"):
        return None
    tensor = int(arguments.get("tensor_parallel_size") or 1)
    pipeline = int(arguments.get("pipeline_parallel_size") or 1)
    concurrent = int(arguments.get("max_num_seqs") or 1)
    sequence = (length or 0) * _kv_bytes_a_token(arguments, checkpoint, tensor) // pipeline
    return MemoryNeed(
        weights=_weight_bytes(arguments, checkpoint) // (tensor * pipeline),
        sequence=sequence,
        all_sequences=sequence * concurrent,
        concurrent=concurrent,
        length=length or 0,
        share=float(arguments.get("gpu_memory_utilization") or _DEFAULT_UTILIZATION),
    )


def _weight_bytes(arguments: Mapping[str, Any], checkpoint: Checkpoint) -> int:
    """As they lie in the files, except that wide ones are narrowed where vLLM does that."""
    keeps_wide = arguments.get("dtype") in ("float32", "float")
    return sum(
        size // 2 if dtype == "F32" and not keeps_wide else size
        for dtype, size in checkpoint.weight_bytes.items()
    )


def _kv_bytes_a_token(arguments: Mapping[str, Any], checkpoint: Checkpoint, tensor: int) -> int:
    shape = checkpoint.kv_elements_a_token
    if shape is None:
        return 0
    heads, elements = shape
    is_narrow = str(arguments.get("kv_cache_dtype") or "auto").startswith(("fp8", "int8", "nvfp4"))
    return -(-heads // tensor) * elements * (1 if is_narrow else _TWO_BYTES)
