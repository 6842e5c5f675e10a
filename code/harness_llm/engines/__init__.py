"""Engines: what generates tokens. This is the one place that lists them; nothing here imports one."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from harness_llm.engines.base import Engine
from harness_llm.engines.forward import Forward
from harness_llm.engines.kind import EngineKind, Weights
from harness_llm.engines.openai import OpenAI
from harness_llm.engines.simulated import Simulated
from harness_llm.engines.vllm_kind import Vllm

__all__ = ["DEFAULT", "KINDS", "EngineKind", "Weights", "engine_kind", "engine_of", "make_engine"]

DEFAULT = "vllm"
"""The engine of a configuration that names none."""

KINDS: dict[str, type[EngineKind]] = {
    "vllm": Vllm,
    "simulated": Simulated,
    "openai": OpenAI,
    "forward": Forward,
}


def engine_kind(name: str) -> type[EngineKind]:
    """The kind of engine called `name`.

    Raises:
        ValueError: There is none; says which there are.
    """
    if name not in KINDS:
        near = get_close_matches(name, KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(KINDS)}"
        raise ValueError(f"no engine is called {name!r}; {hint}")
    return KINDS[name]


def engine_of(keys: dict[str, Any]) -> EngineKind:
    """The engine that these keys describe, one of them its `kind`.

    Raises:
        ValueError: There is no such kind, or a key or a value is wrong (pydantic's ValidationError).
    """
    return engine_kind(str(keys.get("kind"))).model_validate(keys)


def make_engine(name: str, arguments: Mapping[str, Any]) -> Engine:
    """The engine called `name`, not yet started.

    Args:
        name: Its kind.
        arguments: What `EngineKind.replica_arguments` gave.
    """
    engine: Engine = engine_kind(name).engine_class(arguments)
    return engine
