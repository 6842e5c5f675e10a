"""Harness YAML files of another form: that of AMD's harness_llm, which a dozen submitters use (v5.0 to v6.0).

Such a file has `benchmark_name` and `scenario` at the top, and vLLM's arguments in `vllm_engine_config`
(v5.0: `llm_config`, as here).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness_llm.errors import ConfigError

FORM = "AMD's harness_llm"
_SURE = {"vllm_engine_config", "vllm_env_config", "vllm_sampling_config", "sglang_engine_config"}
_TOGETHER = {"benchmark_name", "scenario", "test_mode", "sampling_params", "env_config", "engine_version"}


def is_foreign(keys: Iterable[str]) -> bool:
    """Whether a file with these keys at the top is of that form."""
    found = set(keys)
    return bool(found & _SURE) or len(found & _TOGETHER) > 1


def refuse_foreign(path: Path, keys: Iterable[str]) -> None:
    """Raise for a file of that form.

    Raises:
        ConfigError: It is one; names the command that converts it.
    """
    if is_foreign(keys):
        raise ConfigError(
            f"{path}: this file is in the form of {FORM}; `harness-llm convert {path}` writes it in ours"
        )
