"""Packages that are needed for some things only: asked for before anything is measured."""

import importlib.util
import sys

from harness_llm.errors import ConfigError

_PACKAGES = {"vl_convert": "vl-convert-python", "mlflow": "mlflow-skinny", "rouge_score": "rouge-score"}
"""Packages whose name is not that of their module."""


def require_installed(*modules: str, extra: str = "") -> None:
    """Refuse to start without packages.

    Args:
        modules: What must be importable.
        extra: The optional extra of pyproject.toml that has them; empty where none does.

    Raises:
        ConfigError: A module is not there.
    """
    missing = [_PACKAGES.get(name, name) for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        names, of = " ".join(missing), f", of the optional extra {extra!r}" if extra else ""
        raise ConfigError(
            f"not installed: {', '.join(missing)}{of}",
            f"Install it: {sys.executable} -m pip install {names}",
        )
