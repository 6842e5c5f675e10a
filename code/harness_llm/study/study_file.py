"""Reads the YAML file of a study strictly: a mistake names its place, its key and what would do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness_llm.config.explain import KnownKeys, explain
from harness_llm.config.harness import LONGEST_S
from harness_llm.config.nodes import UnreadableError, numbers_from_booleans, parse
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
        raise ConfigError("\n".join(map(str, explain(error, root, KnownKeys(kind))))) from error
    if mistakes := list(numbers_from_booleans(root, read)):
        raise ConfigError("\n".join(map(str, mistakes)))
    return read
