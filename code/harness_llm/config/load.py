"""Read a harness YAML file strictly: every mistake names file, key, what was found and what would do."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from harness_llm.config.model import HarnessConfig, RunConfig, TestDataset
from harness_llm.engines.simulated import Simulated
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

__all__ = ["dump_config", "load_config"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_KNOWN_KEYS = {
    (): set(RunConfig.model_fields),
    ("harness_config",): set(HarnessConfig.model_fields),
    ("harness_config", "simulated"): set(Simulated.model_fields),
}


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, and leaves `200:16:8` a text, not a number of base 60."""


def _without_base_60() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """SafeLoader's implicit types, where a plain value with a colon is text as in YAML 1.2."""
    numbers = {
        "tag:yaml.org,2002:int": re.compile(r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[0-9][0-9_]*)$"),
        "tag:yaml.org,2002:float": re.compile(
            r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?"
            r"|[0-9]+[eE][-+]?[0-9]+|\.(?:inf|Inf|INF|nan|NaN|NAN))$"
        ),
    }
    return {
        first: [(tag, numbers.get(tag, pattern)) for tag, pattern in resolvers]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_StrictLoader.yaml_implicit_resolvers = _without_base_60()


def _construct_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} is not text", key_node.start_mark
            )
        if key in keys:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} is given twice", key_node.start_mark
            )
        keys.add(key)
    return {str(key): value for key, value in loader.construct_pairs(node, deep=True)}


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def load_config(
    path: Path, overrides: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> RunConfig:
    """Read one harness YAML file, with `key=value` overrides applied.

    `${NAME}` and `${NAME:-default}` in text values are replaced from the environment.

    Args:
        path: The YAML file.
        overrides: Each `dotted.key=value`; the value is read as YAML.
        environment: Where `${NAME}` is looked up.

    Raises:
        ConfigError: The file is missing, is no YAML, or holds a wrong key or value.
    """
    document = _read(path)
    for override in overrides:
        _apply(document, override)
    document = _expand(document, path, environment)
    try:
        config = RunConfig.model_validate(document)
    except ValidationError as error:
        raise _explain(path, error, overrides) from error
    if config.engine.needs_checkpoint and config.model_path is None:
        raise ConfigError(
            f"{path}: llm_config.model is missing", "Name the checkpoint folder, e.g. model: /model/my-model"
        )
    return config


def dump_config(config: RunConfig) -> str:
    """The resolved configuration as YAML text that `load_config` reads back to an equal value."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such configuration file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path}: expected the nodes llm_config and harness_config, found {type(document).__name__}"
        )
    return document


def _apply(document: dict[str, Any], override: str) -> None:
    dotted, separator, text = override.partition("=")
    parts = dotted.strip().split(".")
    if not separator or not all(parts):
        raise ConfigError(
            f"--set {override}: expected key=value", "For example --set llm_config.max_num_seqs=64"
        )
    if parts[0] not in RunConfig.model_fields:
        raise ConfigError(
            f"--set {override}: unknown key {parts[0]!r}",
            "Keys start with llm_config. or harness_config., e.g. --set harness_config.replicas=2",
        )
    node = document
    for part in parts[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ConfigError(f"--set {override}: {part!r} holds a value, not keys")
    try:
        node[parts[-1]] = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from error


def _expand(value: Any, path: Path, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, path, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, path, environment) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        found = environment.get(name) or default
        if found is None:
            raise ConfigError(
                f"{path}: {value!r} names the environment variable {name}, which is not set",
                f"export {name}=…, or write ${{{name}:-default}}",
            )
        return found

    return _VARIABLE.sub(replace, value)


def _explain(path: Path, error: ValidationError, overrides: Sequence[str]) -> ConfigError:
    lines = [_explain_one(detail) for detail in error.errors(include_url=False)]
    origin = f"{path}" + (f" with --set {' '.join(overrides)}" if overrides else "")
    return ConfigError("\n".join(f"{origin}: {line}" for line in lines))


def _explain_one(detail: ErrorDetails) -> str:
    location = tuple(str(part) for part in detail["loc"])
    key = ".".join(location) or "the file"
    if detail["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = get_close_matches(location[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"unknown key {key}; {hint}"
    if detail["type"] == "missing":
        return f"{key} is missing"
    found = detail.get("input")
    shown = "" if isinstance(found, dict) else f", found {found!r}"
    return f"{key}: {detail['msg'].removeprefix('Value error, ')}{shown}"


def _known_keys(node: tuple[str, ...]) -> set[str]:
    if node[:-1] == ("harness_config", "tests"):
        return set(TestDataset.model_fields)
    return _KNOWN_KEYS.get(node, set())
