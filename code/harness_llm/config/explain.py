"""What pydantic finds wrong, said as a user wrote it: place, key, what was found, and what would do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from harness_llm.config.nodes import Mistake, Node


class KnownKeys:
    """The keys that may stand at each place of a document.

    Args:
        model: What the document is read as; keys are those of its annotations.
    """

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model

    def at(self, location: Sequence[str | int]) -> Mapping[str, FieldInfo]:
        """Those below a location; of types to choose from, those of all."""
        models = {self._model}
        for name in location:
            fields = [model.model_fields[str(name)] for model in models if name in model.model_fields]
            inner = {found for field in fields for found in _models_in(field.annotation)}
            models = inner or models  # an index of a list and the name of a type are no fields
        return {name: field for model in models for name, field in model.model_fields.items()}

    def unknown(self, dotted: str, location: Sequence[str | int]) -> str:
        """That a key is not known, and the one that was meant."""
        return f"unknown key {dotted}; {meant(str(location[-1]), self.at(location[:-1]))}"


def meant(name: str, known: Collection[str], elsewhere: Sequence[str] = ()) -> str:
    """The known key that is spelled alike, else one from elsewhere, else all that are known."""
    near = get_close_matches(name, known, n=1) or elsewhere[:1]
    return f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"


def explain(error: ValidationError, root: Node, keys: KnownKeys) -> list[Mistake]:
    """Every mistake that validation found in a tree, at the place of its key.

    Of a value that may be of several types, those of the type that was meant.
    """
    choices: dict[object, dict[str, list[_Found]]] = {}
    for number, detail in enumerate(error.errors(include_url=False)):
        found = _locate(detail, root)
        at, name = found.choice or (number, "")  # alone, where there was nothing to choose
        choices.setdefault(at, {}).setdefault(name, []).append(found)
    return list(dict.fromkeys(it for types in choices.values() for it in _of_a_choice(types, keys)))


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


def _locate(detail: ErrorDetails, root: Node) -> _Found:
    """Follow pydantic's location through what was written; it names types, too, which nobody wrote."""
    location, named = detail["loc"], detail.get("ctx", {}).get("keys", ())
    node, choice, key = root, None, root.key
    for place, part in enumerate((*location, *named)):
        child = node.child(part)
        if child is not None:
            node, key = child, child.key
        elif place < len(location) - (detail["type"] == "missing"):
            choice = key, str(part)
        else:
            key = f"{key}.{part}" if key else str(part)
    return _Found(detail, node, key, choice)


def _of_a_choice(types: Mapping[str, list[_Found]], keys: KnownKeys) -> Iterator[Mistake]:
    every = list(types.values())
    inside = [own for own in every if not any(it.is_of_the_whole for it in own)]
    if len(every) > 1 and not inside:
        yield _mistake([it for own in every for it in own], keys)
        return
    for found in min(inside or every, key=len):
        yield _mistake([found], keys)


def _mistake(every: Sequence[_Found], keys: KnownKeys) -> Mistake:
    """One mistake; of several errors, each says what would do instead."""
    one = every[0]
    dotted, location = one.key or "the file", one.detail["loc"]
    match one.detail["type"]:
        case "extra_forbidden":
            return Mistake(one.node.place, keys.unknown(dotted, location))
        case "missing":
            field = keys.at(location[:-1]).get(str(location[-1]))
            example = f", e.g. {location[-1]}: {field.examples[0]}" if field and field.examples else ""
            return Mistake(one.node.place, f"{dotted} is missing{example}")
    first, *others = dict.fromkeys(_message(it.detail) for it in every)
    said = ", or ".join((first, *(it.removeprefix("Input should be ") for it in others)))
    found = one.detail.get("input")
    is_shown = one.detail["type"] != "at_key" and not isinstance(found, dict | list | BaseModel)
    return Mistake(one.node.place, f"{dotted}: {said}{f', found {found!r}' if is_shown else ''}")


def _message(detail: ErrorDetails) -> str:
    match detail["type"]:
        case "model_type" | "model_attributes_type":
            return "Input should be keys with values"
        case "union_tag_not_found":
            return "kind is missing"
        case "union_tag_invalid":
            return "kind {tag!r} is not known; choose {expected_tags}".format(**detail["ctx"])
    return detail["msg"].removeprefix("Value error, ").partition(", unable to ")[0]


def _models_in(annotation: object) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {found for part in getattr(annotation, "__args__", ()) for found in _models_in(part)}
