"""Asks an engine's own classes about `llm_config`, in a process of its own, before anything is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from harness_llm.config.harness import RunConfig
from harness_llm.errors import ConfigError
from harness_llm.launch.local import child_environment

_PATIENCE_S = 300.0  # vLLM's import takes 10 s, a minute on a busy host


def try_engines(configs: Sequence[RunConfig]) -> list[str]:
    """Let each engine look at its arguments as it would when it starts.

    Returns:
        What could not be checked here, a sentence each.

    Raises:
        ConfigError: An argument has a wrong type or value, or a key that is not known; all are named.
    """
    asked = {config.engine_key: config for config in configs if config.engine.trial}
    notes = dict.fromkeys(filter(None, (_try(config) for config in asked.values())))
    return list(notes)


def _try(config: RunConfig) -> str:
    module = config.engine.trial
    try:
        answer = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(config.llm_config),
            capture_output=True,
            text=True,
            check=False,
            env=child_environment({**config.engine.environment, **config.harness_config.engine_env}),
            timeout=_PATIENCE_S,
        )
        found = json.loads(answer.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return f"{config.engine.kind} could not be asked about llm_config: {module} gave no answer"
    if found["problems"]:
        scenario = config.harness_config.scenario
        keys = {f"llm_config.{key}".rstrip("."): said for key, said in found["problems"].items()}
        raise ConfigError(
            "\n".join(f"{scenario}: {key}: {said}" for key, said in keys.items()),
            f"This is what {config.engine.kind} says itself; correct or remove it.",
        )
    return str(found["note"])
