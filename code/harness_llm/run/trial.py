"""Asks an engine's own classes about `llm_config`, in a process of its own, before anything is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence

from harness_llm.config.harness import RunConfig
from harness_llm.engines.kind import variable_at
from harness_llm.errors import ConfigError
from harness_llm.launch.local import child_environment

_PATIENCE_S = 300.0  # vLLM's import takes 10 s, a minute on a busy host


def try_engines(configs: Sequence[RunConfig], places: Sequence[Callable[[str], str]]) -> list[str]:
    """Let each engine look at its arguments as it would when it starts.

    Args:
        configs: One for each scenario.
        places: Of each, where a dotted key is written (`config.load.load_with_places`).

    Returns:
        What could not be checked here, a sentence each.

    Raises:
        ConfigError: An argument or a variable has a wrong type or value, or a key that is not known; all are
            named.
    """
    asked = {
        config.engine_key: (config, place)
        for config, place in zip(configs, places, strict=True)
        if config.engine.trial
    }
    notes = dict.fromkeys(filter(None, (_try(*each) for each in asked.values())))
    return list(notes)


def _try(config: RunConfig, place: Callable[[str], str]) -> str:
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
    keys = {f"llm_config.{key}".rstrip("."): said for key, said in found["problems"].items()}
    said = [f"{place(key)}: {key}: {problem}" for key, problem in keys.items()]
    given = config.harness_config.engine_env
    said += [f"{variable_at(name, given, place)}: {text}" for name, text in found["variables"].items()]
    if said:
        raise ConfigError(
            "\n".join(said),
            f"This is what {config.engine.kind} says itself; correct or remove it.",
        )
    return str(found["note"])
