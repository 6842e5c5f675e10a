"""Read a harness YAML file strictly: every mistake names place, key, what was found and what would do."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from harness_llm.config.explain import explain
from harness_llm.config.harness import RunConfig
from harness_llm.config.layers import read_layers
from harness_llm.config.nodes import Mistake, Node, find, numbers_from_booleans
from harness_llm.config.run_keys import RunKeys
from harness_llm.errors import ConfigError
from harness_llm.secret_values import masked_document


def load_config(
    path: Path, overrides: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> RunConfig:
    """Read one harness YAML file with what it extends, and `key=value` overrides applied.

    `${NAME}` and `${NAME:-default}` in text values are replaced from the environment.

    Args:
        path: The YAML file.
        overrides: Each `dotted.key=value`; the value is read as YAML.
        environment: Where `${NAME}` is looked up.

    Raises:
        ConfigError: The file is missing, is no YAML, or holds wrong keys or values; names all of them.
    """
    return load_with_places(path, overrides, environment)[0]


def load_with_places(
    path: Path, overrides: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> tuple[RunConfig, Callable[[str], str]]:
    """As `load_config`, and a function that says where a dotted key is written: `my.yaml:3:5`.

    Of a key that is not written it says where the nearest one above it is.
    """
    root, mistakes = read_layers(path, overrides, environment)
    config = _validated(root, mistakes)
    if mistakes or config is None:
        raise _error(mistakes)
    masked_document(config.model_dump(mode="json"))  # its secrets are known from here on
    return config, lambda key: str(find(root, key.split("."))[0].place)


def load_to_run(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """As `load_config`, and refuse what the engine would refuse, or pass over, after a start of minutes.

    Raises:
        ConfigError: See `load_config`; or the engine is not installed, or cannot work with its arguments.
    """
    config, place = load_with_places(path, overrides)
    config.engine.preflight(config.llm_config, place)
    config.engine.check_environment(config.harness_config.engine_env, place)
    return config


def dump_config(config: RunConfig) -> str:
    """The configuration as YAML text that `load_config` reads back to an equal value, but for secrets."""
    return yaml.safe_dump(masked_document(config.model_dump(mode="json")), sort_keys=False)


def _validated(root: Node, mistakes: list[Mistake]) -> RunConfig | None:
    try:
        config = RunConfig.model_validate(root.plain())
    except ValidationError as error:
        known = {mistake.place for mistake in mistakes}  # of one place, the first cause is enough
        mistakes += [mistake for mistake in explain(error, root, RunKeys(root)) if mistake.place not in known]
        return None
    mistakes += numbers_from_booleans(root, config)
    if config.engine.needs_checkpoint and config.model_path is None:
        node = root.child("llm_config")
        assert node is not None
        mistakes.append(
            Mistake(
                (node.child("model") or node).place,
                "llm_config.model is missing; name the checkpoint folder, e.g. model: /model/my-model",
            )
        )
    return config


def _error(mistakes: Sequence[Mistake]) -> ConfigError:
    """All mistakes, those of one file in the order of its lines."""
    ordered = sorted(
        dict.fromkeys(mistakes), key=lambda item: (item.place.line == 0, item.place.source, item.place.line)
    )
    return ConfigError("\n".join(str(mistake) for mistake in ordered))
