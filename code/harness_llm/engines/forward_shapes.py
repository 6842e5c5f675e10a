"""Sizes of models that can be run with made-up weights: each as the model's own config.json has it."""

from __future__ import annotations

from typing import Any

_GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
_LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 128_256,
    "num_key_value_heads": 8, "max_position_embeddings": 131_072, "tie_word_embeddings": True,
}  # fmt: skip

SHAPES: dict[str, dict[str, Any]] = {
    "distilgpt2": {**_GPT2, "n_layer": 6, "n_embd": 768, "n_head": 12},
    "gpt2": {**_GPT2, "n_layer": 12, "n_embd": 768, "n_head": 12},
    "distilbert-base-uncased": {
        "model_type": "distilbert", "architectures": ["DistilBertForMaskedLM"], "n_layers": 6, "dim": 768,
        "n_heads": 12, "hidden_dim": 3072,
    },
    "roberta-large": {
        "model_type": "roberta", "architectures": ["RobertaForMaskedLM"], "num_hidden_layers": 24,
        "hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096, "vocab_size": 50_265,
        "max_position_embeddings": 514,
    },
    "llama-3.2-1b-instruct": {
        **_LLAMA, "num_hidden_layers": 16, "hidden_size": 2048, "num_attention_heads": 32,
        "intermediate_size": 8192,
    },
    "llama-3.2-3b-instruct": {
        **_LLAMA, "num_hidden_layers": 28, "hidden_size": 3072, "num_attention_heads": 24,
        "intermediate_size": 8192,
    },
    "mistral-7b-instruct-v0.2": {
        "model_type": "mistral", "architectures": ["MistralForCausalLM"], "num_hidden_layers": 32,
        "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
        "intermediate_size": 14_336, "vocab_size": 32_000, "max_position_embeddings": 32_768,
        "sliding_window": None,
    },
}  # fmt: skip
"""By the last part of a hub name in small letters."""

_TINY = {
    "gpt2": {"n_layer": 2, "n_embd": 64, "n_head": 4},
    "distilbert": {"n_layers": 2, "dim": 64, "n_heads": 4, "hidden_dim": 128},
    "other": {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
              "num_key_value_heads": 4, "intermediate_size": 128},
}  # fmt: skip


def shape_of(name: str, *, tiny: bool = False) -> dict[str, Any] | None:
    """The sizes of a model by its hub name; None where they are not listed.

    Args:
        name: E.g. `meta-llama/Llama-3.2-3B-Instruct`.
        tiny: The same kind of model with two thin layers and 1,000 token ids, for a host without a GPU.
    """
    found = SHAPES.get(name.rpartition("/")[2].lower())
    if found is None or not tiny:
        return found
    ends = {"bos_token_id": None, "eos_token_id": None}  # the kind's own lie beyond so few ids
    return {**found, **_TINY.get(found["model_type"], _TINY["other"]), "vocab_size": 1000, **ends}
