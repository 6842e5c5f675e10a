"""One name, one thing: of modules, of classes, and of methods where a reader follows a sample."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness_llm.cli import app

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[2] / "code" / "harness_llm"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__"))

# The same word for the same role, wherever it stands.
SAME_ROLE = {"process": "the entry of a child process"}

# Methods of one name in several classes of the hot path: one implements the other, or all begin or end.
HOT_PATH = ("loadgen", "replica", "transport")
SEAMS = (
    {"Router", "PullRouter", "PushRouter"},
    {"Link", "ReplicaLink"},
    {"Sink", "Server", "_WarmUp"},
    {"Engine", "TaskEngine"},
)
LIFE = {"start", "stop", "open", "close"}


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _verbs() -> set[str]:
    return {command.name for command in app.registered_commands if command.name is not None}


def _twice(pairs: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    """Names with more than one owner."""
    owners: dict[str, set[str]] = defaultdict(set)
    for name, owner in pairs:
        owners[name].add(owner)
    assert len(owners) > 10
    return {name: sorted(found) for name, found in owners.items() if len(found) > 1}


def _modules() -> Iterator[tuple[str, str]]:
    """Every module but those of the command line that are called what their verb is called."""
    for path in MODULES:
        if not (path.parent.name == "cli" and path.stem in _verbs()):
            yield path.stem, str(path.relative_to(PACKAGE))


def _classes() -> Iterator[tuple[str, str]]:
    for path in MODULES:
        for node in _tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, str(path.relative_to(PACKAGE))


def test_a_module_name_means_one_thing() -> None:
    assert not {name: paths for name, paths in _twice(_modules()).items() if name not in SAME_ROLE}


def test_a_class_name_means_one_thing() -> None:
    assert not _twice(_classes())


def _methods() -> Iterator[tuple[str, str]]:
    paths = [path for path in MODULES if path.parent.name in HOT_PATH]
    for path in [*paths, PACKAGE / "engines" / "base.py"]:
        for node in _tree(path).body:
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and not (
                        member.name.startswith("_")
                    ):
                        yield member.name, node.name


def test_on_the_way_of_a_sample_a_method_name_means_one_act() -> None:
    for name, classes in _twice(_methods()).items():
        assert name in LIFE or any(set(classes) <= seam for seam in SEAMS), f"{name}: {classes}"


@pytest.mark.parametrize("face", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_a_package_hides_none_of_its_modules_behind_a_name_of_its_own(face: Path) -> None:
    """`package.name` would be the function at one time and the module at another."""
    modules = {path.stem for path in face.parent.glob("*.py")} | {
        path.parent.name for path in face.parent.glob("*/__init__.py")
    }
    bound = set()
    for node in _tree(face).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            bound.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            own = node.module == ".".join(face.parent.relative_to(PACKAGE.parent).parts)
            bound |= {alias.asname or alias.name for alias in node.names if not own}
    assert not bound & modules
