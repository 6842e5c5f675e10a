"""Engines: what generates tokens. This is the one place that knows their names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from harness_llm.engines import vllm_arguments
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness_llm.engines.base import Engine

__all__ = ["check_arguments", "make_engine"]


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


def check_arguments(name: str, arguments: Mapping[str, Any], source: str) -> None:
    """Refuse, within milliseconds, what the engine would refuse after a start of minutes.

    Args:
        name: `vllm` or `simulated`.
        arguments: `llm_config` as it is.
        source: File that they come from, for the error.

    Raises:
        ConfigError: The engine is not installed, or has no such argument.
    """
    if name != "vllm":
        return
    version = vllm_arguments.installed_version()
    if version is None:
        raise ConfigError(
            f"{source}: harness_config.engine is vllm, which is not installed for {sys.executable}",
            "Use the Python of the environment that `setup/environment.sh` makes.",
        )
    known = vllm_arguments.installed_arguments()
    if known is None:  # then the engine itself decides, when it starts
        return
    problem, remedy = vllm_arguments.argument_problem(arguments, known, version)
    if problem:
        raise ConfigError(f"{source}: {problem}", remedy)
