"""How vLLM makes answers, from its arguments and from its own resolved configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from harness_llm.checkpoint import Checkpoint
from harness_llm.engines.vllm_arguments import as_read
from harness_llm.rules import Decoding, Draft

SAMPLING = "override_generation_config"
_MADE_UP = ("dummy", "random")
"""Formats of weights that come from no file: vLLM's own, and that of harness_llm.kernels."""

# Parameters of vllm.SamplingParams (0.32.0), each with the values at which it changes nothing.
_ALTERS: Mapping[str, tuple[object, ...]] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "logit_bias": (None, {}),
    "bad_words": (None, []),
    "allowed_token_ids": (None, []),
    "structured_outputs": (None, {}),
    "n": (1,),
    "watermarking": (None, False),
}
_ENDS: Mapping[str, tuple[object, ...]] = {
    "ignore_eos": (None, False),
    "stop": (None, "", []),
    "thinking_token_budget": (None,),
    "repetition_detection": (None, {}),
}
# Keys of a model's own configuration that decide how much is computed; hf_overrides replaces them.
_SHAPE = frozenset({
    "num_hidden_layers", "num_experts_per_tok", "num_experts", "num_local_experts", "n_routed_experts",
    "hidden_size", "intermediate_size", "moe_intermediate_size", "num_attention_heads",
    "num_key_value_heads", "vocab_size", "sliding_window", "eos_token_id", "architectures", "layer_types",
    "index_topk",
})  # fmt: skip
# Connectors that hand the cache of one sample over between the parts of one engine, and keep none.
_HAND_OVER = frozenset({"NixlConnector", "NixlPullConnector", "NixlPushConnector", "MooncakeConnector",
                        "MoRIIOConnector", "P2pNcclConnector"})  # fmt: skip
_DRAFT_CHANGES: Mapping[str, tuple[object, ...]] = {
    "quantization": (None,),
    "rejection_sample_method": (None, "standard"),
    "synthetic_acceptance_rates": (None,),
    "synthetic_acceptance_length": (None,),
    "num_speculative_tokens_per_batch_size": (None,),
    "enable_adaptive_verification": (None, False),
    "parallel_drafting": (None, False),
    "posterior_threshold": (None,),
    "acceptance_method": (None, "rejection_sampler"),
}


def has_made_up_weights(arguments: Mapping[str, Any]) -> bool:
    """Whether vLLM, given these arguments, makes the model's weights up, so that answers mean nothing."""
    return as_read(arguments).get("load_format") in _MADE_UP


def decoding(
    arguments: Mapping[str, Any], facts: Mapping[str, Any], checkpoint: Checkpoint | None
) -> Decoding:
    """What vLLM does with every sample.

    Args:
        arguments: `llm_config`.
        facts: What the engine said of itself (EngineFacts as JSON); empty before a run.
        checkpoint: The model's folder; None where it is not at hand.
    """
    arguments = as_read(arguments)
    config = _mapping(_mapping(facts.get("resolved")).get("config"))
    sampling = _mapping(arguments.get(SAMPLING))
    return Decoding(
        engine="vllm",
        temperature=_number(sampling.get("temperature"), 0.0),
        top_p=_number(sampling.get("top_p"), 1.0) or 0.0,
        top_k=int(_number(sampling.get("top_k"), 0) or 0),
        min_p=_number(sampling.get("min_p"), 0.0) or 0.0,
        alters=_set(sampling, _ALTERS) | _set(arguments, {"logits_processors": (None, [])}),
        ends=_set(sampling, _ENDS),
        end_tokens=_ids(sampling.get("stop_token_ids")),
        reuses=dict(_reuses(arguments, config)),
        draft=_draft(arguments, config),
        omits=dict(_omits(arguments, config, checkpoint)),
    )


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _number(value: object, default: float) -> float | None:
    """None for what is no number, of which nobody knows what vLLM makes."""
    if value is None:
        return default
    return float(value) if isinstance(value, int | float) else None


def _ids(value: object) -> frozenset[int]:
    return (
        frozenset(item for item in value if isinstance(item, int)) if isinstance(value, list) else frozenset()
    )


def _set(given: Mapping[str, Any], known: Mapping[str, tuple[object, ...]]) -> dict[str, object]:
    """Of the known settings, those that are set to something that changes the answer."""
    return {key: given[key] for key, neutral in known.items() if key in given and given[key] not in neutral}


def _reuses(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    cache = _mapping(config.get("cache_config"))
    for place in (arguments, cache):
        if place.get("enable_prefix_caching"):
            yield "enable_prefix_caching", place["enable_prefix_caching"]
    if arguments.get("kv_offloading_size"):
        yield "kv_offloading_size", arguments["kv_offloading_size"]
    transfer = _mapping(config.get("kv_transfer_config")) or _mapping(arguments.get("kv_transfer_config"))
    for name in _connectors(transfer):
        if name not in _HAND_OVER:
            yield "kv_transfer_config.kv_connector", name


def _connectors(transfer: Mapping[str, Any]) -> Iterator[str]:
    """Names of connectors; of MultiConnector, those that it holds."""
    name = transfer.get("kv_connector")
    inner = _mapping(transfer.get("kv_connector_extra_config")).get("connectors")
    if isinstance(inner, list):
        for each in inner:
            yield from _connectors(_mapping(each))
    elif name:
        yield str(name)


def _draft(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> Draft | None:
    asked = _mapping(arguments.get("speculative_config"))
    short = {"method": "spec_method", "model": "spec_model", "num_speculative_tokens": "spec_tokens"}
    asked |= {key: arguments[name] for key, name in short.items() if arguments.get(name)}
    given = _mapping(config.get("speculative_config")) or asked
    if not given:
        return None
    method = str(given.get("method") or "not stated")
    tokens = given.get("num_speculative_tokens")
    return Draft(
        method="mtp" if method.endswith("mtp") else method,
        tokens=tokens if isinstance(tokens, int) else None,
        head=str(asked.get("model") or ""),
        changes=_set(given, _DRAFT_CHANGES) | _set(asked, _DRAFT_CHANGES),
    )


def _omits(
    arguments: Mapping[str, Any], config: Mapping[str, Any], checkpoint: Checkpoint | None
) -> Iterator[tuple[str, object]]:
    overrides = _mapping(arguments.get("hf_overrides"))
    for key in sorted(_SHAPE & overrides.keys()):
        yield f"hf_overrides.{key}", overrides[key]
    if has_made_up_weights(arguments):
        yield "load_format", arguments["load_format"]
    if arguments.get("enable_lora"):
        yield "enable_lora", True
    if "sparse" in str(arguments.get("quantization") or ""):
        yield "quantization", arguments["quantization"]
    model = (
        checkpoint.config
        if checkpoint is not None
        else _printed(_mapping(config.get("model_config")).get("hf_config"))
    )
    for key in ("quantization_config", "compression_config"):
        sparsity = _mapping(_mapping(model.get(key)).get("sparsity_config"))
        structure = sparsity.get("sparsity_structure")
        if sparsity.get("format", "dense") != "dense" or structure not in (None, "0:0", "unstructured_0"):
            yield f"config.json {key}.sparsity_config", structure or sparsity["format"]


def _printed(text: object) -> dict[str, Any]:
    """The JSON that transformers prints of a model's configuration; empty where there is none."""
    start = str(text).find("{")
    try:
        return _mapping(json.loads(str(text)[start:])) if start >= 0 else {}
    except ValueError:
        return {}
