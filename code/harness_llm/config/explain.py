"""What pydantic finds wrong, said as a user wrote it: place, key, what was found, and what would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness_llm import engines
from harness_llm.config.harness import RunConfig
from harness_llm.config.layers import EXTENDS
from harness_llm.config.nodes import Mistake, Node, find
from harness_llm.datasets import kinds as datasets

_KINDS: dict[str, Mapping[str, type[BaseModel]]] = {"dataset": datasets.KINDS, "engine": engines.KINDS}


def explain(error: ValidationError, root: Node) -> list[Mistake]:
    """Every mistake that validation found in a tree, at the place of its key."""
    return [_explain_one(detail, root) for detail in error.errors(include_url=False)]


def _explain_one(detail: ErrorDetails, root: Node) -> Mistake:
    location = (*detail["loc"], *detail.get("ctx", {}).get("keys", ()))
    node, rest = find(root, location)
    model = _model_at(root, location[:-1])
    dotted = ".".join(part for part in (node.key, *map(str, rest)) if part) or "the file"
    if detail["type"] == "extra_forbidden":
        return Mistake(node.place, _unknown(dotted, str(location[-1]), location[:-1], model))
    if detail["type"] == "missing":
        field = model.model_fields.get(str(location[-1])) if model is not None else None
        example = f", e.g. {location[-1]}: {field.examples[0]}" if field and field.examples else ""
        return Mistake(node.place, f"{dotted} is missing{example}")
    if detail["type"] == "at_key":
        return Mistake(node.place, f"{dotted}: {detail['msg']}")
    found = detail.get("input")
    shown = "" if isinstance(found, dict | list) else f", found {found!r}"
    said = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "model_type":
        said = "expected keys"
    return Mistake(node.place, f"{dotted}: {said}{shown}")


def _unknown(dotted: str, name: str, above: Sequence[str | int], model: type[BaseModel] | None) -> str:
    """That a key is not known, and the one that was meant, or where it would do something."""
    known = set(model.model_fields) if model is not None else set()
    if not above:
        known.add(EXTENDS)
    if "dataset" in known:
        known.add("dataset_path")
    kinds = _KINDS.get(str(above[-1]), {}) if above else {}
    others = [kind for kind, keys in kinds.items() if name in keys.model_fields]
    if others:
        return f"{dotted} does nothing here: it is a key of {' and '.join(others)}"
    near = get_close_matches(name, known, n=1)
    if not near and tuple(above) == ("harness_config",):
        near = list(_inside(name))[:1]
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
    return f"unknown key {dotted}; {hint}"


def _inside(name: str) -> Iterator[str]:
    """Keys of engines and data sets that may be meant, as they are written below harness_config."""
    for part, kinds in _KINDS.items():
        for kind, keys in kinds.items():
            yield from (
                f"{part}: {{kind: {kind}, {near}: …}}" for near in get_close_matches(name, keys.model_fields)
            )


def _model_at(root: Node, location: Sequence[str | int]) -> type[BaseModel] | None:
    """The model of the keys at a location, or None where any key may stand."""
    found: Any = RunConfig
    for depth, part in enumerate(location, 1):
        if part in _KINDS:
            kind = find(root, (*location[:depth], "kind"))[0].value
            found = _KINDS[str(part)].get(kind if isinstance(kind, str) else engines.DEFAULT)
        elif _is_model(found):
            field = found.model_fields.get(part)
            found = None if field is None else field.annotation
        else:
            found = next(iter(reversed(get_args(found))), None)  # of a mapping or a list
        if isinstance(found, UnionType):
            found = next(filter(_is_model, get_args(found)), None)
    return found if _is_model(found) else None


def _is_model(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)
