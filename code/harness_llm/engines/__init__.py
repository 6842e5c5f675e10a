"""Engines: what generates tokens. `make_engine` is the one place that knows their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness_llm.engines.base import Engine

__all__ = ["make_engine"]


def make_engine(name: str, arguments: Mapping[str, Any]) -> Engine:
    """The engine called `name`, not yet started.

    Args:
        name: `vllm` or `simulated`.
        arguments: `llm_config` as it is, or the simulated engine's latencies.
    """
    if name == "vllm":
        from harness_llm.engines.vllm import VllmEngine

        return VllmEngine(arguments)
    assert name == "simulated", name
    from harness_llm.engines.simulated import SimulatedEngine

    return SimulatedEngine(arguments)
