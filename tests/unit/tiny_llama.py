"""A made-up Llama of 100,000 parameters, quantized by the real ModelOpt."""

from __future__ import annotations

import json
import random
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from harness_llm.quantize import conversion
from harness_llm.quantize.recipe import Backend

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = 12
LAYERS = 2


def options_for(model: Path, calibration: Path, output: Path) -> conversion.Options:
    return conversion.Options(
        model=model,
        calibration=calibration,
        kind=None,
        output=output,
        backend=Backend.MODELOPT,
        samples=SAMPLES,
        sequence_length=32,
        write_up=None,
        command="quantize it",
    )


class TinyLlama:
    """Its checkpoint, its calibration set and its FP8 checkpoint, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def model(self) -> Path:
        folder = self._folder / "tiny-llama"
        torch.manual_seed(1)
        config = LlamaConfig(
            vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=LAYERS,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
            tie_word_embeddings=False, eos_token_id=1,
        )  # fmt: skip
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
        (folder / "tokenizer.json").write_text("{}")
        return folder

    @cached_property
    def calibration(self) -> Path:
        path = self._folder / "calibration.jsonl"
        rng = random.Random(3)
        rows = [
            {"token_ids": [rng.randrange(3, 128) for _ in range(rng.randrange(5, 40))]}
            for _ in range(SAMPLES)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    @cached_property
    def quantized(self) -> Path:
        output = self._folder / "fp8"
        conversion.quantize(options_for(self.model, self.calibration, output))
        return output
