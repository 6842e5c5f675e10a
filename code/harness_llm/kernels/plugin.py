"""What vLLM calls in each of its processes: hands it the load format and the kernels that are on."""

from __future__ import annotations

import importlib

from harness_llm.kernels.switch import Kernel, asked_for

_registered = False


def register() -> None:
    """Register once a process; vLLM may call it again.

    Raises:
        ValueError: The switch holds a word that it does not know.
    """
    global _registered
    if _registered:
        return
    kernels = asked_for()
    # By name: the modules import vLLM, which calls this while it is being imported.
    importlib.import_module("harness_llm.kernels.random_weights").register()
    if Kernel.LINEAR in kernels:
        importlib.import_module("harness_llm.kernels.linear").register()
    if Kernel.ATTENTION in kernels:
        _register_attention()
    _registered = True


def _register_attention() -> None:
    """By the name of the class alone: its module imports FlashInfer, which few processes need."""
    registry = importlib.import_module("vllm.v1.attention.backends.registry")
    registry.register_backend(
        registry.AttentionBackendEnum.FLASHINFER, "harness_llm.kernels.attention.NoWaitFlashInfer"
    )
