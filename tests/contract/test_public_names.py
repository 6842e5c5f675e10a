"""What a package offers is what its face, `__init__.py`, lists in `__all__`; a plain module needs no list."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "code"


def _bound(node: ast.stmt) -> set[str]:
    """Names that a statement binds at the top of a module."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    targets = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign)
        else []
    )
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}


def _has_code(path: Path) -> bool:
    """Whether there is more than a docstring and a version."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return not all(isinstance(node, ast.Expr) or _bound(node) == {"__version__"} for node in body)


FACES = [path for path in sorted(SOURCE.rglob("__init__.py")) if _has_code(path)]


def test_there_are_faces() -> None:
    assert len(FACES) > 5


@pytest.mark.parametrize("path", FACES, ids=lambda path: path.parent.name)
def test_a_face_says_what_its_package_offers(path: Path) -> None:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    declared = [node for node in body if _bound(node) == {"__all__"}]
    assert len(declared) == 1, f"{path}: one __all__ is needed"
    assert isinstance(declared[0], ast.Assign)
    names = ast.literal_eval(declared[0].value)
    assert len(set(names)) == len(names)
    bound = set().union(*(_bound(node) for node in body))
    assert set(names) <= bound, f"{path}: {set(names) - bound} is not there"
    # A decorated function is called by whoever decorated it, such as a command of the command line.
    defined = [
        node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    plain = [node for node in defined if isinstance(node, ast.ClassDef) or not node.decorator_list]
    public = {node.name for node in plain if not node.name.startswith("_")}
    assert public <= set(names), f"{path}: {public - set(names)} looks public and is not in __all__"
