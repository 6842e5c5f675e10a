"""Whether a model fits the memory of its devices, said before a load of minutes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from harness_llm.config.harness import RunConfig
from harness_llm.core import counted
from harness_llm.engines.vllm_memory import MemoryNeed
from harness_llm.errors import ModelError
from harness_llm.system import accelerators
from harness_llm.system.facts import Accelerator

_GIB = 1 << 30
_BLOCK = 128  # tokens; vLLM's on a CPU, the largest that is usual, and it keeps one for itself


def memory_notes(configs: Sequence[RunConfig]) -> list[str]:
    """What to know of a model that fits and cannot run all that it is asked to run at once, a sentence each.

    Raises:
        ModelError: Weights, and one sequence of the greatest length, do not fit.
    """
    notes = []
    for config in configs:
        checkpoint = config.checkpoint
        engine, arguments = config.engine, config.llm_config
        if checkpoint is None or not engine.needs_weights(arguments):
            continue
        devices = accelerators.read().accelerators
        cpu = None if devices else {**os.environ, **config.harness_config.engine_env}
        need = engine.memory_need(arguments, checkpoint, cpu)
        if need is not None and (note := _compare(need, *_memory(config, need, devices))):
            notes.append(f"{config.harness_config.scenario}: {note}")
    return list(dict.fromkeys(notes))


def _compare(need: MemoryNeed, usable: int | None, what: str) -> str:
    if need.cache is not None and need.sequence > need.cache:
        room = need.cache * need.length // need.sequence
        raise ModelError(
            f"the KV cache of one sequence of {need.length:,} tokens needs {_gib(need.sequence)}, and "
            f"{need.cache_from} provides {_gib(need.cache)}, enough for {counted(room, 'token')}",
            f"Lower llm_config.max_model_len to {max(room // _BLOCK - 1, 1) * _BLOCK} or below, or raise "
            f"{need.cache_from}.",
        )
    if usable is None:
        return ""
    held, why = need.sequence, f" of one sequence of {need.length:,} tokens"
    if need.cache is not None:
        held, why = need.cache, f", by {need.cache_from}"
    if need.weights + held > usable:
        raise ModelError(
            f"the model does not fit {what}, of which {_gib(usable)} may be used: it needs "
            f"{_gib(need.weights)} for weights and {_gib(held)} for the KV cache{why}",
            "Raise llm_config.tensor_parallel_size, lower max_model_len, or take a quantized checkpoint.",
        )
    room = usable - need.weights
    if need.cache is not None or not need.sequence or need.all_sequences <= room:
        return ""  # whoever sets the size knows how long samples really are
    return (
        f"beside {_gib(need.weights)} of weights, {what} has room for the KV cache of at most "
        f"{counted(room // need.sequence, 'sequence')} of {need.length:,} tokens; "
        f"max_num_seqs is {need.concurrent:,}"
    )


def _memory(config: RunConfig, need: MemoryNeed, devices: Sequence[Accelerator]) -> tuple[int | None, str]:
    """Bytes that a replica may use of the smallest device that it may get, and what to call that."""
    if devices:
        sizes = [device.memory_bytes for device in devices if device.memory_bytes]
        return (int(min(sizes) * need.share) if sizes else None), f"one {devices[0].name}"
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return pages * size // (config.harness_config.replicas or 1), "this host"


def _gib(size: int) -> str:
    return f"{size / _GIB:,.1f} GiB"
