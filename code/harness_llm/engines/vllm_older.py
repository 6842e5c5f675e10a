"""Arguments of older vLLM versions: what to write instead today; docs/vllm-arguments.md says more of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Outlived:
    """An argument that the installed vLLM still knows, with a value that was needed once.

    Attributes:
        is_meant: Whether a value among all arguments is that one.
        why: Why to leave it out, a clause.
    """

    is_meant: Callable[[object, Mapping[str, object]], bool]
    why: str


_ONE_MODEL_RUNNER = "the present scheduler has no such setting"
_SPECULATIVE = "write speculative_config: {model: ..., num_speculative_tokens: ...}"
_STRUCTURED = "write structured_outputs_config; no benchmark here uses it"
_HF_CONFIG = "write hf_overrides"

GONE = {
    "num_scheduler_steps": "steps overlap by async_scheduling, which is on by itself where it can be",
    "multi_step_stream_outputs": "the harness sets stream_interval",
    "swap_space": "a request that loses its cache is computed again; nothing is swapped to the host",
    "max_seq_len_to_capture": "write max_cudagraph_capture_size, the largest batch that runs as a graph "
    "(tokens in one step, not a sequence length)",
    "max_context_len_to_capture": "write max_cudagraph_capture_size, the largest batch that runs as a graph "
    "(tokens in one step, not a sequence length)",
    "cuda_graph_sizes": "write cudagraph_capture_sizes",
    "use_v2_block_manager": _ONE_MODEL_RUNNER,
    "num_lookahead_slots": _ONE_MODEL_RUNNER,
    "preemption_mode": _ONE_MODEL_RUNNER,
    "scheduler_delay_factor": _ONE_MODEL_RUNNER,
    "max_num_partial_prefills": _ONE_MODEL_RUNNER,
    "disable_async_output_proc": _ONE_MODEL_RUNNER,
    "worker_use_ray": "write distributed_executor_backend: ray",
    "device": "the platform follows from the vLLM that is installed",
    "task": "a generating model is recognized as one",
    "disable_log_requests": "requests are not logged",
    "quantization_param_path": "scales of the cache are read from the checkpoint",
    "qlora_adapter_name_or_path": "write enable_lora; no benchmark here uses it",
    "enable_prompt_adapter": "vLLM dropped the feature",
    "tokenizer_pool_size": "prompts arrive as token ids",
    "guided_decoding_backend": _STRUCTURED,
    "enable_reasoning": _STRUCTURED,
    "speculative_model": _SPECULATIVE,
    "num_speculative_tokens": _SPECULATIVE,
    "rope_scaling": _HF_CONFIG,
    "rope_theta": _HF_CONFIG,
    "override_neuron_config": "write additional_config",
}
"""Arguments that vLLM no longer has, each with what stands for it."""

OUTLIVED = {
    "enforce_eager": Outlived(
        lambda value, _: value is True,
        "vLLM 0.6 on ROCm needed it; today it turns off graphs and compilation",
    ),
    "enable_chunked_prefill": Outlived(
        lambda value, _: value is False,
        "chunked prefill is how max_num_batched_tokens bounds the length of a step, and with it TPOT",
    ),
    "quantization": Outlived(
        lambda value, _: str(value).lower() == "fp8",
        "the checkpoint says how it is quantized; fp8 today asks vLLM to quantize a bf16 checkpoint",
    ),
    "block_size": Outlived(lambda *_: True, "each attention backend has its own"),
    "disable_custom_all_reduce": Outlived(
        lambda _, given: given.get("tensor_parallel_size", 1) == 1,
        "without tensor parallelism it has no effect",
    ),
}
"""Arguments to leave out of a configuration that was written for an older vLLM."""


def said_of_gone(name: str) -> str:
    """What to do about an argument that vLLM no longer has, `; ` before it; empty for any other name."""
    return f"; it is gone from vLLM: {GONE[name]}" if name in GONE else ""
