"""What the harness adds to vLLM, through vLLM's own doors: kernels, and weights made on the device.

vLLM finds this package by its entry point `vllm.general_plugins` and calls `register` in each of its
processes. Nothing of vLLM is edited. Without `HARNESS_LLM_KERNELS` in the environment vLLM computes exactly
as without this package; the load format `random` does nothing unless `llm_config.load_format` asks for it.
"""

from __future__ import annotations

from harness_llm.kernels.plugin import register
from harness_llm.kernels.switch import KERNELS_VARIABLE, Kernel, asked_for

__all__ = ["KERNELS_VARIABLE", "Kernel", "asked_for", "register"]
