"""Reads the YAML file of a study strictly: a mistake names its place, its key and what would do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from harness_llm.config.harness import LONGEST_S
from harness_llm.config.nodes import Node, UnreadableError, numbers_from_booleans, parse
from harness_llm.errors import ConfigError
from harness_llm.files import read_text

_LARGEST_BYTES = 1_000_000


class Strict(BaseModel):
    """What a user writes: no unknown key, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Seconds = Annotated[float, Field(ge=0, le=LONGEST_S)]
"""A time that may be none."""
SomeSeconds = Annotated[float, Field(gt=0, le=LONGEST_S)]
"""A time that may not be none."""


def spelled(pattern: str, words: str) -> AfterValidator:
    """A text that a pattern describes; `words` say what would do where it does not."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(words)
        return text

    return AfterValidator(read)


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
        read = kind.model_validate(root.plain())
    except ValidationError as error:
        raise ConfigError("\n".join(dict.fromkeys(_said(error, root, kind)))) from error
    if mistakes := list(numbers_from_booleans(root, read)):
        raise ConfigError("\n".join(map(str, mistakes)))
    return read


@dataclass(frozen=True)
class _Found:
    """One error of pydantic's, at what was written.

    Attributes:
        detail: What pydantic says.
        node: The value that it is about, or the last one on the way to it.
        key: Its dotted key as a user writes it; empty for the whole file.
        choice: Where one of several types was to be chosen: the key there, and pydantic's name of the type.
    """

    detail: ErrorDetails
    node: Node
    key: str
    choice: tuple[str, str] | None

    @property
    def is_of_the_whole(self) -> bool:
        """Whether nothing of the value was of the chosen type."""
        return self.choice is not None and self.choice[0] == self.key


def _said(error: ValidationError, root: Node, kind: type[BaseModel]) -> Iterator[str]:
    """Every mistake in a line; of types to choose from, those that were meant."""
    choices: dict[object, dict[str, list[_Found]]] = {}
    for number, detail in enumerate(error.errors(include_url=False)):
        found = _locate(detail, root)
        at, name = found.choice or (number, "")  # alone, where there was nothing to choose
        choices.setdefault(at, {}).setdefault(name, []).append(found)
    for types in choices.values():
        every = list(types.values())
        inside = [own for own in every if not any(it.is_of_the_whole for it in own)]
        if len(every) > 1 and not inside:
            yield _line([it for own in every for it in own])
            continue
        for found in min(inside or every, key=len):
            yield _line([found]) if found.detail["type"] != "extra_forbidden" else _unknown(found, kind)


def _locate(detail: ErrorDetails, root: Node) -> _Found:
    """Follow pydantic's location through what was written; it names types, too, which nobody wrote."""
    location = [*detail["loc"], *detail.get("ctx", {}).get("keys", ())]
    node, choice = root, None
    parts: list[str] = []
    for place, part in enumerate(location):
        child = node.child(part)
        if child is not None:
            node = child
        elif detail["type"] != "missing" or place + 1 < len(location):
            choice = ".".join(parts), str(part)
            continue
        parts.append(str(part))
    return _Found(detail, node, ".".join(parts), choice)


def _line(every: Sequence[_Found]) -> str:
    """One mistake; of several errors, each says what would do instead."""
    one = every[0]
    if one.detail["type"] == "missing":
        return f"{one.node.place}: {one.key} is missing"
    found = one.detail.get("input")
    shown = "" if isinstance(found, dict | list | BaseModel) else f", found {found!r}"
    said = dict.fromkeys(_message(it.detail) for it in every)
    first, *others = said
    said_all = ", or ".join((first, *(it.removeprefix("Input should be ") for it in others)))
    return f"{one.node.place}: {one.key or 'the file'}: {said_all}{shown}"


def _message(detail: ErrorDetails) -> str:
    match detail["type"]:
        case "model_type" | "model_attributes_type":
            return "Input should be keys with values"
        case "union_tag_not_found":
            return "kind is missing"
        case "union_tag_invalid":
            return "kind {tag!r} is not known; choose {expected_tags}".format(**detail["ctx"])
    return detail["msg"].removeprefix("Value error, ").partition(", unable to ")[0]


def _unknown(found: _Found, kind: type[BaseModel]) -> str:
    location = found.detail["loc"]
    known = _keys(kind, location[:-1])
    near = get_close_matches(str(location[-1]), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
    return f"{found.node.place}: unknown key {found.key}; {hint}"


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
