"""What to do about an exception of an engine: its number and its remedy, by its text.

The texts are vLLM's (0.32.0: v1/core/kv_cache_utils.py, v1/worker/utils.py,
distributed/device_communicators/shm_broadcast.py) and PyTorch's; another exception stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable

SHARED_MEMORY = "Make /dev/shm larger (docker run --shm-size, or --ipc=host), or delete what is left in it."
"""What to do where /dev/shm is full."""

_LESS_MEMORY = "lower llm_config.max_num_seqs, max_num_batched_tokens or gpu_memory_utilization"


def _kv_cache(found: re.Match[str]) -> str:
    tokens = int(found[1])
    return (
        f"The KV cache holds {tokens:,} tokens: lower llm_config.max_model_len to {tokens} or below, or give "
        "it more memory (llm_config.gpu_memory_utilization; VLLM_CPU_KVCACHE_SPACE on a CPU)."
    )


_KNOWN: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"estimated maximum model length is (\d+)", _kv_cache),
    (
        r"No available memory for the cache blocks",
        "The weights leave no room for a KV cache: raise llm_config.gpu_memory_utilization or "
        "tensor_parallel_size, or take a smaller or quantized checkpoint. Engines that start at the same "
        "time on one device count each other's memory as their own: give each its part with "
        "llm_config.kv_cache_memory_bytes.",
    ),
    (
        r"Free memory on device .*?\(([\d./ GMi]*B?)\)",
        "Another process holds memory of the device: end it (nvidia-smi, rocm-smi), or lower "
        "llm_config.gpu_memory_utilization.",
    ),
    (
        r"Insufficient space in (/dev/shm\S*)",
        SHARED_MEMORY,
    ),
    (r"No space left on device.*(?:shm|psm_)|(?:shm|psm_).*No space left on device", SHARED_MEMORY),
    (
        r"Tried to allocate ([\d.]+ [GM]iB)",
        f"The device has no {{0}} left: {_LESS_MEMORY}, or raise tensor_parallel_size.",
    ),
    (r"CUDA out of memory|HIP out of memory|OutOfMemoryError", f"The device is full: {_LESS_MEMORY}."),
    (
        r"MemoryError|Cannot allocate memory|DefaultCPUAllocator",
        "The host is out of memory: free some, or load fewer replicas.",
    ),
    (r"Too many open files", "Raise the limit of open files (ulimit -n)."),
    (
        r"No such file or directory: '([^']+)'",
        "{0} is missing: fetch the checkpoint again, or correct llm_config.",
    ),
    (
        r"SafetensorError|HeaderTooLarge|InvalidHeader|MetadataIncompleteBuffer|unpack requires a buffer",
        "A file of the checkpoint is damaged: `harness-llm prepare` names it; fetch it again.",
    ),
    (
        r"NCCL error|ncclSystemError|ncclUnhandledCudaError",
        "NCCL failed: set harness_config.engine_env.NCCL_DEBUG to INFO and read the log.",
    ),
)


def remedy_for(cause: str) -> str:
    """What to do about an exception, given its text; empty where nothing is known."""
    for pattern, remedy in _KNOWN:
        if found := re.search(pattern, cause, re.DOTALL):
            return remedy(found) if callable(remedy) else remedy.format(*found.groups())
    return ""
