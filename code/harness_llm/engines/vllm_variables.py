"""Environment variables that the installed vLLM reads, known without importing vLLM."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

PREFIX = "VLLM_"
"""Of vLLM's own variables; it reads none with this prefix that it does not list."""


def installed_variables() -> frozenset[str] | None:
    """Names in `environment_variables` of the vLLM that is installed here.

    From vllm/envs.py. None where there is no vLLM or its source says nothing.
    """
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        return None
    try:
        tree = ast.parse((Path(spec.origin).parent / "envs.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return None
    for node in tree.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if "environment_variables" in names and isinstance(value := getattr(node, "value", None), ast.Dict):
            return frozenset(key.value for key in value.keys if _is_text(key)) or None  # type: ignore[union-attr]
    return None


def _is_text(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
