"""YAML texts as trees: places, and the bounds of what aliases and nesting may make of a text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.config.nodes import Mark, Node, UnreadableError, parse


def _laughs(levels: int, each: int = 9) -> str:
    """A few hundred characters that stand for `each ** levels` values."""
    lines = ["a0: &a0 ha"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * each)}]")
    return "\n".join(lines) + "\n"


def test_a_billion_laughs_are_not_laughed() -> None:
    started = time.monotonic()
    with pytest.raises(UnreadableError, match=r"bomb\.yaml:\d+:\d+: .*more than 10,000 values"):
        parse(_laughs(10), "bomb.yaml")
    assert time.monotonic() - started < 5
    tree, mistakes = parse(_laughs(3), "fine.yaml")
    assert not mistakes and len(tree.plain()["a2"]) == 9 and tree.plain()["a2"][8] == ["ha"] * 9


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000, "{a: " * 50_000, "a: " + "[" * 40 + "]" * 40, "\n".join(" " * n + "-" for n in range(40))],
)
def test_deep_nesting_is_an_error_not_a_crash(text: str) -> None:
    with pytest.raises(UnreadableError, match="not valid YAML: .*nested more than 32 deep"):
        parse(text, "deep.yaml")


@pytest.mark.parametrize("text", ["a: &x {b: *x}", "&x [*x]", "a: &x [{b: [*x]}]"])
def test_an_alias_of_a_node_that_it_is_in_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError, match="recursive"):
        parse(text, "loop.yaml")


def test_an_alias_says_the_same_again_at_a_place_of_its_own() -> None:
    tree, _ = parse("a: &x {b: 1}\nc: *x\n", "f.yaml")
    assert tree.plain() == {"a": {"b": 1}, "c": {"b": 1}}
    assert tree.child("c") is not None and str(tree.child("c").place) == "f.yaml:2:1"  # type: ignore[union-attr]


def test_every_value_knows_the_line_and_column_of_its_key() -> None:
    tree, mistakes = parse("a: 1\nb:\n  c: [x,\n    {d: y}]\n", "f.yaml")
    assert not mistakes
    assert {(node.key, str(node.place)) for node in tree.walk()} == {
        ("", "f.yaml:1:1"),
        ("a", "f.yaml:1:1"),
        ("b", "f.yaml:2:1"),
        ("b.c", "f.yaml:3:3"),
        ("b.c[0]", "f.yaml:3:7"),
        ("b.c[1]", "f.yaml:4:5"),
        ("b.c[1].d", "f.yaml:4:6"),
    }


def test_a_value_of_an_override_has_no_lines() -> None:
    tree, mistakes = parse("{x: 1, x: 2, 3: 4}", "--set a.b={x: 1, x: 2, 3: 4}", "a.b")
    assert tree.plain() == {"x": 1} and tree.key == "a.b"
    assert [mistake.place for mistake in mistakes] == [Mark("--set a.b={x: 1, x: 2, 3: 4}")] * 2
    assert str(mistakes[1]).startswith("--set a.b={x: 1, x: 2, 3: 4}: key 3 is not text")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("200:16:8", "200:16:8"),
        ("1:30.5", "1:30.5"),
        ("0x1F", 31),
        ("010", 8),
        ("1_000", 1000),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("yes", True),
        ("~", None),
        ("'7'", "7"),
    ],
)
def test_scalars_are_what_yaml_says_without_numbers_of_base_60(text: str, value: object) -> None:
    tree, mistakes = parse(f"a: {text}", "f.yaml")
    assert not mistakes and tree.plain() == {"a": value}


@given(st.text(st.sampled_from("abc:-{}[],&*!#%|> \n\t'\"<?0123\x00é"), max_size=60))
def test_any_text_is_a_tree_or_is_refused_with_its_source(text: str) -> None:
    try:
        tree, mistakes = parse(text, "f.yaml")
    except UnreadableError as error:
        assert str(error).startswith("f.yaml")
        return
    assert isinstance(tree, Node) and all(mistake.place.source == "f.yaml" for mistake in mistakes)


_TAGS = (
    "int",
    "float",
    "bool",
    "null",
    "timestamp",
    "binary",
    "str",
    "seq",
    "map",
    "set",
    "omap",
    "pairs",
    "x",
)


@pytest.mark.parametrize("tag", _TAGS)
@given(
    text=st.sampled_from(
        ["maybe", "abc", "", "''", "'@@@'", "2026-99-99", "[]", "{a: b}", "[a, b]", "1:2", "9" * 5000]
    )
)
def test_a_tag_that_does_not_fit_what_it_stands_at_is_a_mistake_with_its_place(tag: str, text: str) -> None:
    _, mistakes = parse(f"a:\n  b: !!{tag} {text}", "f.yaml")
    assert all(str(mistake.place) == "f.yaml:2:3" for mistake in mistakes)
    if (tag, text) in {("bool", "maybe"), ("timestamp", "abc"), ("float", "abc"), ("int", "")}:
        assert "cannot be read" in mistakes[0].message and "!!" not in mistakes[0].message
    _, mistakes = parse(f"? !!{tag} {text}\n: 1", "f.yaml")
    assert mistakes or tag == "str"
    assert all(str(mistake.place) == "f.yaml:1:3" for mistake in mistakes)
