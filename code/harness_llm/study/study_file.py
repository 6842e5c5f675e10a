"""Reads the YAML file of a study strictly: a mistake names its place, its key and what would do."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from harness_llm.config.nodes import Node, UnreadableError, find, parse
from harness_llm.errors import ConfigError
from harness_llm.files import read_text

_LARGEST_BYTES = 1_000_000


class Strict(BaseModel):
    """What a user writes: no unknown key, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_Model = TypeVar("_Model", bound=Strict)


def read_study(path: Path, kind: type[_Model], overrides: Sequence[str] = ()) -> _Model:
    """Read a study's file, with `key=value` overrides of its top keys, whose values are read as YAML.

    Raises:
        ConfigError: The file is missing, is not YAML, or has wrong keys or values; names all of them.
    """
    try:
        root, mistakes = parse(read_text(path, _LARGEST_BYTES), str(path))
        if not isinstance(root.value, dict):
            raise ConfigError(f"{path}: expected keys, found {type(root.value).__name__}")
        for override in overrides:
            name, separator, text = override.partition("=")
            if not separator or not name.isidentifier():
                raise ConfigError(f"--set {override}: expected key=value", "For example --set trials=3")
            root.value[name], found = parse(text, f"--set {override}", name)
            mistakes += found
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such study file") from error
    except (OSError, UnicodeDecodeError, UnreadableError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if mistakes:
        raise ConfigError("\n".join(map(str, mistakes)))
    try:
        return kind.model_validate(root.plain())
    except ValidationError as error:
        said = [_said(detail, root, kind) for detail in error.errors(include_url=False)]
        raise ConfigError("\n".join(dict.fromkeys(said))) from error


def _said(detail: ErrorDetails, root: Node, kind: type[BaseModel]) -> str:
    location = detail["loc"]
    node, _ = find(root, location)
    key = ".".join(map(str, location)) or "the file"
    if detail["type"] == "extra_forbidden":
        known = _keys(kind, location[:-1])
        near = get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"{node.place}: unknown key {key}; {hint}"
    if detail["type"] == "missing":
        return f"{node.place}: {key} is missing"
    found = detail.get("input")
    shown = "" if isinstance(found, dict | list | BaseModel) else f", found {found!r}"
    return f"{node.place}: {key}: {detail['msg'].removeprefix('Value error, ')}{shown}"


def _keys(kind: type[BaseModel], above: Sequence[str | int]) -> set[str]:
    """Names that may stand at a place: those of the model, or of the models of a field's annotation."""
    models = {kind}
    for name in above:
        if isinstance(name, int):
            continue
        fields = [model.model_fields[name] for model in models if name in model.model_fields]
        inner = {found for field in fields for found in _models_in(field.annotation)}
        models = inner or models  # the name of a choice within a union is no field
    return {name for model in models for name in model.model_fields}


def _models_in(annotation: object) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {found for part in getattr(annotation, "__args__", ()) for found in _models_in(part)}
