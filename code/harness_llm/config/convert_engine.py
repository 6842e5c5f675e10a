"""The part of a conversion that is about vLLM: its arguments, its variables, how tokens are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from harness_llm.config.convert_notes import Notes, Weight
from harness_llm.engines.vllm_arguments import (
    PREFIX,
    SET_BY_HARNESS,
    installed_arguments,
    installed_variables,
)
from harness_llm.engines.vllm_older import GONE, OUTLIVED

_UNSET = ("None", "MISSING", None)
_GRAPHS = "max_cudagraph_capture_size"
_OWN = "HARNESS_"
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "min_p": (0,),
    "ignore_eos": (False,),
    "detokenize": (False,),
}
"""Values of sampling settings that change no answer here."""


def convert_arguments(given: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """`llm_config` from vLLM's arguments of an older version."""
    known = installed_arguments()
    kept: dict[str, Any] = {}
    for name, value in given.items():
        if value in _UNSET:
            notes.add(Weight.NO_EFFECT, name, f"left out: {value} is vLLM's own default")
        elif name in GONE:
            notes.add(Weight.REPLACED, name, f"gone from vLLM; {GONE[name]}")
        elif name in OUTLIVED and OUTLIVED[name].is_meant(value, given):
            notes.add(Weight.REPLACED, f"{name} = {value}", f"left out; {OUTLIVED[name].why}")
        elif name in SET_BY_HARNESS:
            notes.add(Weight.NO_EFFECT, name, f"set by the harness to {SET_BY_HARNESS[name]!r}")
        elif known is not None and name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            notes.add(Weight.CHECK, name, f"left out: the installed vLLM has no such argument{hint}")
        else:
            kept[name] = value
    _convert_graphs(kept, notes)
    if not given.get("enable_chunked_prefill", True) and "max_num_batched_tokens" in kept:
        notes.add(
            Weight.CHECK,
            f"max_num_batched_tokens = {kept['max_num_batched_tokens']}",
            "kept, but prompts are cut into chunks now: 8,192 to 16,384 is usual Offline, less in Server and "
            "Interactive, as TPOT allows (docs/vllm-arguments.md)",
        )
    return kept


def _convert_graphs(kept: dict[str, Any], notes: Notes) -> None:
    """`cudagraph_capture_range` of a vLLM fork is a largest batch and steps down from it."""
    compilation = kept.get("compilation_config")
    if not isinstance(compilation, dict) or "cudagraph_capture_range" not in compilation:
        return
    compilation = dict(compilation)
    numbers = list(_numbers(compilation.pop("cudagraph_capture_range")))
    kept["compilation_config"] = compilation
    key = "compilation_config.cudagraph_capture_range"
    if not numbers or "cudagraph_capture_sizes" in compilation:
        notes.add(Weight.REPLACED, key, "left out; vLLM has no such key")
        return
    kept[_GRAPHS] = max(numbers)
    notes.add(
        Weight.REPLACED, key, f"a key of a fork; {_GRAPHS} is its largest batch, vLLM chooses the steps"
    )


def _numbers(value: object) -> list[int]:
    if isinstance(value, list):
        return [number for part in value for number in _numbers(part)]
    return [value] if isinstance(value, int) else []


def convert_environment(given: Mapping[str, Any], notes: Notes) -> dict[str, str]:
    """`engine_env`: the variables that something still reads."""
    known = installed_variables()
    kept: dict[str, str] = {}
    for name, value in given.items():
        if name.startswith(_OWN):
            notes.add(Weight.NO_EFFECT, name, "read by that harness only")
        elif name.startswith(PREFIX) and known is not None and name not in known:
            notes.add(
                Weight.NO_EFFECT,
                name,
                "left out: the installed vLLM does not read it (a fork or an older one did)",
            )
        elif value is not None:
            kept[name] = str(value)  # as os.environ had it
    return kept


def convert_sampling(given: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """Arguments for llm_config that make vLLM choose tokens so; none for greedy."""
    for name, neutral in _NEUTRAL.items():
        if name in given and given[name] not in neutral:
            notes.add(Weight.CHECK, f"{name} = {given[name]}", "left out: no key here does that")
    if given.get("temperature", 1) == 0 or given.get("top_k") == 1:
        asked = [name for name in ("temperature", "top_p", "top_k", "seed") if name in given]
        for name in asked:
            notes.add(Weight.NO_EFFECT, name, "greedy, as every run here is unless llm_config says otherwise")
        return {}
    chosen = {name: given[name] for name in ("temperature", "top_p", "top_k") if name in given}
    for name in chosen:
        notes.add(Weight.REPLACED, name, "now in llm_config.override_generation_config")
    seed = {"seed": given["seed"]} if "seed" in given else {}
    return {"generation_config": "vllm", "override_generation_config": chosen, **seed} if chosen else seed
