"""FP8 by AMD Quark: the same numbers for AMD GPUs, in the format that Quark writes and vLLM reads there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from quark.torch import LLMTemplate, ModelQuantizer, export_safetensors

from harness_llm.errors import ModelError
from harness_llm.quantize.calibration import CalibrationSet, CalibrationState

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_LOG = logging.getLogger(__name__)


def calibrate(model: PreTrainedModel, samples: CalibrationSet, state: CalibrationState) -> PreTrainedModel:
    """Insert observers, run every sample, and set the scales.

    Quark keeps its own loop, so an interrupted calibration starts again from its first sample; `state` is
    not used.

    Raises:
        ModelError: Quark knows no template for this kind of model.
    """
    del state
    model_type = str(model.config.model_type)
    if model_type not in LLMTemplate.list_available():
        raise ModelError(
            f"Quark has no quantization template for model type {model_type!r}",
            f"It knows: {', '.join(sorted(LLMTemplate.list_available()))}",
        )
    config = LLMTemplate.get(model_type).get_config(
        scheme="fp8", kv_cache_scheme="fp8", exclude_layers=["lm_head"]
    )
    device = next(model.parameters()).device
    prompts = [torch.from_numpy(prompt.astype("int64"))[None].to(device) for prompt in samples.prompts]
    loader: torch.utils.data.DataLoader[torch.Tensor] = torch.utils.data.DataLoader(
        prompts,  # type: ignore[arg-type]
        batch_size=None,
        shuffle=False,
    )
    several = len(set(getattr(model, "hf_device_map", {}).values())) > 1
    quantizer = ModelQuantizer(config, multi_device=several)
    quantized = quantizer.quantize_model(model, loader)
    frozen: PreTrainedModel = quantizer.freeze(quantized)
    return frozen


def export(model: PreTrainedModel, folder: Path) -> None:
    """Write a calibrated model as a Hugging Face checkpoint whose config.json holds the quantization."""
    with torch.no_grad():
        export_safetensors(model, str(folder), custom_mode="quark", weight_format="real_quantized")
