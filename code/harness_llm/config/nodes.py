"""A YAML text as a tree in which every value knows the line and the column of its key.

PyYAML composes the text into nodes, which carry these marks; the tree is built from them here: strictly, with
every mistake collected, and within bounds, so that aliases of aliases cannot grow without end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from harness_llm.errors import BROKEN_INPUT

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_INTEGERS = 1 << 63  # what crosses processes has 64 bits
_DEEPEST = 32
_MOST_VALUES = 10_000
_MAP, _LIST, _TEXT = (f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str"))


@dataclass(frozen=True, slots=True)
class Mark:
    """Where something is written.

    Attributes:
        source: A file, or `--set key=value`.
        line: Line of the file, from 1; 0 where the source has no lines.
        column: Column of the line, from 1.
    """

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong with what is written at a place; the message ends with what would do."""

    place: Mark
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Node:
    """One value, what it is called, and where its key stands.

    Attributes:
        key: Its dotted key as written, e.g. `harness_config.max_tokens`; empty at the top.
        place: Where the key stands.
        value: Nodes by key, a list of nodes, or a scalar.
    """

    key: str
    place: Mark
    value: Any

    def plain(self) -> Any:
        """The value and all below it, without places."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, part: str | int) -> Node | None:
        """The value under one key or list index, or None."""
        found: Node | None = None
        if isinstance(self.value, dict):
            found = self.value.get(str(part))
        elif isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            found = self.value[part]
        return found

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        below = self.value.values() if isinstance(self.value, dict) else self.value
        for node in below if isinstance(self.value, dict | list) else ():
            yield from node.walk()


def find(root: Node, location: Sequence[str | int]) -> tuple[Node, Sequence[str | int]]:
    """The node at a location, or the last one on the way to it, and what is left of the way."""
    node = root
    for index, part in enumerate(location):
        child = node.child(part)
        if child is None:
            return node, location[index:]
        node = child
    return node, ()


def numbers_from_booleans(node: Node, read: object) -> Iterator[Mistake]:
    """Every `true` that pydantic took for 1, and `false` for 0.

    Args:
        node: What was written.
        read: The model, mapping or value that it was read as.
    """
    if isinstance(node.value, bool) and not isinstance(read, bool) and isinstance(read, int | float):
        yield Mistake(node.place, f"{node.key}: expected a number, found {str(node.value).lower()}")
    for name, child in node.value.items() if isinstance(node.value, dict) else ():
        part = read.get(name) if isinstance(read, Mapping) else getattr(read, name, None)
        yield from numbers_from_booleans(child, part)
    if isinstance(node.value, list) and isinstance(read, list | tuple) and len(read) == len(node.value):
        for child, part in zip(node.value, read, strict=True):
            yield from numbers_from_booleans(child, part)


class UnreadableError(Exception):
    """The text is not YAML, or more than a configuration can be; the message begins with the place."""


def parse(text: str, source: str, key: str = "") -> tuple[Node, list[Mistake]]:
    """Read a YAML text.

    Args:
        text: The text.
        source: The file that it comes from, or the `--set` that it is the value of.
        key: Dotted key of the whole, where it is a value; then its parts have no lines of their own.

    Returns:
        The tree, and what is wrong in it: a key given twice or that is not text, a value that cannot be read.
        What is wrong is left out of the tree.

    Raises:
        UnreadableError: The text is no YAML, nests too deep, holds a node within itself, or too many values.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        builder = _Builder(loader, source, has_lines=not key)
        return builder.build(node, key, builder.place(node)), builder.mistakes
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Mark(source, mark.line + 1, mark.column + 1) if mark and not key else Mark(source)
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise UnreadableError(f"{place}: not valid YAML: {said}") from error
    except yaml.YAMLError as error:
        raise UnreadableError(f"{source}: not valid YAML: {error}") from error
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """SafeLoader that composes no deep nesting, and leaves `200:16:8` a text, not a number of base 60."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.composer.ComposerError(
                None,
                None,
                f"nested more than {_DEEPEST} deep",
                self.peek_event().start_mark,  # type: ignore[no-untyped-call]
            )
        found: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return found


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


_Loader.yaml_implicit_resolvers = _without_base_60()


class _Builder:
    """Builds the tree from composed nodes; an alias is built again wherever it stands."""

    def __init__(self, loader: _Loader, source: str, *, has_lines: bool) -> None:
        self.mistakes: list[Mistake] = []
        self._loader = loader
        self._source = source
        self._has_lines = has_lines
        self._built = 0
        self._within: set[int] = set()

    def place(self, node: yaml.Node | None) -> Mark:
        if node is None or not self._has_lines:
            return Mark(self._source)
        return Mark(self._source, node.start_mark.line + 1, node.start_mark.column + 1)

    def build(self, node: yaml.Node | None, key: str, place: Mark) -> Node:
        if node is None:  # an empty text
            return Node(key, place, None)
        self._built += 1
        if self._built > _MOST_VALUES:
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"more than {_MOST_VALUES:,} values, with its aliases written out",
                node.start_mark,
            )
        if isinstance(node, yaml.ScalarNode):
            return Node(key, place, self._scalar(node, key, place))
        if id(node) in self._within:
            raise yaml.constructor.ConstructorError(
                None, None, f"{key or 'it'} is recursive: an alias of a node that it is in", node.start_mark
            )
        self._within.add(id(node))
        value: dict[str, Node] | list[Node] | None = None
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            value = self._mapping(node, key)
        elif isinstance(node, yaml.SequenceNode) and node.tag == _LIST:
            value = [
                self.build(part, f"{key}[{index}]", self.place(part)) for index, part in enumerate(node.value)
            ]
        else:
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            self._refuse(place, f"{key}: a {kind}; write a plain mapping or list, without a tag")
        self._within.discard(id(node))
        return Node(key, place, value)

    def _mapping(self, node: yaml.Node, key: str) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for key_node, value_node in node.value:
            place = self.place(key_node)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _TEXT:
                self._refuse(place, _not_a_key(key_node))
                continue
            name = key_node.value
            if _NO_TEXT.search(name):
                self._refuse(place, f"key {name!r} holds NUL or half a character; remove it")
                continue
            child = self.build(value_node, f"{key}.{name}" if key else name, place)
            if name in found:
                self._refuse(place, f"key {name!r} is given twice, first at {found[name].place}; keep one")
            else:
                found[name] = child
        return found

    def _scalar(self, node: yaml.ScalarNode, key: str, place: Mark) -> Any:
        try:
            value = self._loader.construct_object(node)
            if isinstance(value, int) and not -_INTEGERS <= value < _INTEGERS:
                raise ValueError("it needs more than 64 bits")
            if isinstance(value, str) and _NO_TEXT.search(value):
                raise ValueError("it holds NUL or half a character, which no file and no variable can hold")
            return value
        except yaml.constructor.ConstructorError:
            self._refuse(place, f"{key}: the tag {node.tag} is not read; write a plain value")
        except BROKEN_INPUT as error:  # PyYAML lets a tag's own errors through, as of `!!bool maybe`
            said = str(error) if isinstance(error, ValueError) else f"not a {node.tag.rpartition(':')[2]}"
            self._refuse(place, f"{key}: {node.value!r} cannot be read ({said}); put a text in quotes")
        return None

    def _refuse(self, place: Mark, message: str) -> None:
        self.mistakes.append(Mistake(place, message))


def _not_a_key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        return "a key that is a list or a mapping is not text; write a name"
    if node.value == "<<":
        return "merge keys (<<) are not read; write the keys out, or use extends"
    return f"key {node.value} is not text; put it in quotes if it is meant as text"
