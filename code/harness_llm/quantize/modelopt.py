"""FP8 by NVIDIA ModelOpt: per-tensor static scales for weights, activations and the key and value cache."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import modelopt.torch.quantization as mtq
from modelopt.torch.export import export_hf_checkpoint
from modelopt.torch.quantization.nn import TensorQuantizer

from harness_llm.quantize.calibration import CalibrationSet, CalibrationState, feed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


_LOG = logging.getLogger(__name__)


def _settings() -> dict[str, Any]:
    """ModelOpt's FP8 preset, lm_head excluded as it always does, plus its FP8 key and value cache preset."""
    chosen: dict[str, Any] = copy.deepcopy(mtq.FP8_DEFAULT_CFG)
    chosen["quant_cfg"] = [*chosen["quant_cfg"], *copy.deepcopy(mtq.FP8_KV_CFG["quant_cfg"])]
    return chosen


def calibrate(model: PreTrainedModel, samples: CalibrationSet, state: CalibrationState) -> PreTrainedModel:
    """Insert quantizers and set their scales from the largest magnitudes seen over all samples.

    Continues where `state` says an earlier attempt stopped. After it, the model computes with rounded
    weights and activations (in its own precision), so that its accuracy can be looked at.
    """

    def run(quantized: PreTrainedModel) -> None:
        quantizers = _activation_quantizers(quantized)
        start, maxima = state.load()
        if start:
            _LOG.info("continuing calibration after %d samples", start)
        for name, value in maxima.items():
            calibrator = quantizers[name]._calibrator
            calibrator._calib_amax = value.to(_device(quantized))

        def save(seen: int) -> None:
            state.save(
                seen, {name: quantizer._calibrator._calib_amax for name, quantizer in quantizers.items()}
            )

        body = quantized.base_model  # lm_head is not quantized: its product would be thrown away
        feed(
            lambda tokens: body(input_ids=tokens, use_cache=False),
            samples.prompts,
            start=start,
            device=_device(quantized),
            save=save,
        )
        for name, quantizer in quantizers.items():  # each next to its layer, where devices differ
            saved = quantizer._calibrator._calib_amax
            assert saved is not None, f"{name} saw no sample"

    quantized: PreTrainedModel = mtq.quantize(model, _settings(), run)
    return quantized


def export(model: PreTrainedModel, folder: Path) -> None:
    """Write a calibrated model as a Hugging Face checkpoint with `hf_quant_config.json`."""
    export_hf_checkpoint(model, export_dir=folder)


def _activation_quantizers(model: PreTrainedModel) -> dict[str, Any]:
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, TensorQuantizer) and module._if_calib and not name.endswith("weight_quantizer")
    }


def _device(model: PreTrainedModel) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device
