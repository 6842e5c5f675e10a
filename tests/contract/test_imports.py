"""Imports run one way, and two libraries have one importer each; the source is read, nothing is imported."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "code"
PACKAGE = "harness_llm"

# Each row may import from the rows above it, and from nothing else of the package.
LAYERS = (
    {"core", "ending", "errors", "quiet", "secret_values"},
    {"files", "installed", "terminal"},
    {"checkpoint_files"},
    {"checkpoint", "rules"},
    {"benchmark", "kernels"},
    {"engines", "fetch", "logs", "transport"},
    {"datasets", "system"},
    {"config"},
    {"launch", "results"},
    {"accuracy", "compliance", "loadgen", "replica", "telemetry", "views"},
    {"check", "compare", "driver", "fleet", "quantize"},
    {"package", "report"},
    {"run"},
    {"study", "tune"},
    {"power", "tenants"},
    {"cli", "testing"},
    {"__main__"},
)
ONE_IMPORTER = {"mlperf_loadgen": "harness_llm/loadgen/lib.py", "vllm": "harness_llm/engines/vllm.py"}
INSIDE_VLLM = "harness_llm/kernels/"  # loaded by vLLM itself, in its own processes
MODULES = sorted(SOURCE.rglob("*.py"))


def _unit(module: str) -> str:
    """First name below the package: `harness_llm.config.load` is of `config`."""
    return module.split(".")[1]


@cache
def _imports(path: Path) -> frozenset[str]:
    """Every module that a file imports anywhere, under TYPE_CHECKING and within functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def _units() -> set[str]:
    return {path.stem if path.is_file() else path.name for path in (SOURCE / PACKAGE).iterdir()}


def test_every_module_has_its_layer() -> None:
    assert len(MODULES) > 50
    known = set().union(*LAYERS)
    found = {unit for unit in _units() if unit not in ("__init__", "__pycache__", "models")}
    assert found == known


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_import_goes_up_or_across(path: Path) -> None:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    unit = parts[1]
    below: set[str] = set()
    for layer in LAYERS:
        if unit in layer:
            break
        below |= layer
    allowed = below | {unit}
    for module in _imports(path):
        if module.startswith(f"{PACKAGE}."):
            assert _unit(module) in allowed or module == f"{PACKAGE}.__file__", f"{path}: imports {module}"


@pytest.mark.parametrize("library", ONE_IMPORTER)
def test_a_library_with_a_seam_has_one_importer(library: str) -> None:
    importers = [
        str(path.relative_to(SOURCE))
        for path in MODULES
        if not (library == "vllm" and str(path.relative_to(SOURCE)).startswith(INSIDE_VLLM))
        if any(module == library or module.startswith(f"{library}.") for module in _imports(path))
    ]
    assert importers == [ONE_IMPORTER[library]]


LOOKS_BACK = {"harness_llm/loadgen/late.py"}  # counts what was asked already and was late; chooses nothing


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_system_under_test_knows_what_will_be_asked(path: Path) -> None:
    """The rules forbid to predict lulls and spikes (inference_rules.adoc, "knowledge of the LoadGen")."""
    name = path.relative_to(SOURCE)
    if _unit(".".join(name.with_suffix("").parts)) not in ("loadgen", "replica", "engines"):
        return
    coming = {f"{PACKAGE}.logs.{module}" for module in ("order", "draws", "schedule")} | {f"{PACKAGE}.tune"}
    found = {module for module in _imports(path) if any(module.startswith(one) for one in coming)}
    assert bool(found) == (str(name) in LOOKS_BACK), f"{path}: imports {found}"


def test_the_loadgen_process_imports_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "vllm", "rich", "pydantic", "rouge_score"}
    rooms = [SOURCE / PACKAGE / room for room in ("loadgen", "driver")]
    for path in (file for room in rooms for file in room.glob("*.py")):
        assert not {module.split(".")[0] for module in _imports(path)} & heavy, path


@pytest.mark.parametrize("room", ["loadgen", "driver"])
def test_the_loadgen_process_loads_nothing_heavy_through_others(room: str) -> None:
    """What its modules import, and what those import in turn; a fresh interpreter is asked."""
    code = (
        f"import sys, harness_llm.{room}.process; print(*{{name.partition('.')[0] for name in sys.modules}})"
    )
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(
        command, capture_output=True, check=True, text=True, env={**os.environ, "PYTHONPATH": str(SOURCE)}
    ).stdout.split()
    assert "numpy" in loaded
    assert not {"torch", "transformers", "vllm", "rich", "pydantic", "rouge_score", "yaml"} & set(loaded)


def test_the_source_root_is_no_package() -> None:
    """An __init__.py in `code/` would shadow the standard library's `code`, and break pdb."""
    assert not (SOURCE / "__init__.py").exists()


def test_every_package_folder_is_a_package() -> None:
    for folder in {path.parent for path in MODULES}:
        assert (folder / "__init__.py").exists(), folder


def test_the_documents_name_every_module_in_the_order_of_imports() -> None:
    table = (SOURCE.parent / "docs" / "structure.md").read_text().split("## Modules")[1].split("\n## ")[0]
    names = re.findall(r"^\| `(\w+)(/?)` \|", table, re.MULTILINE)
    folder = SOURCE / PACKAGE
    for name, slash in names:
        assert (folder / name).is_dir() if slash else (folder / f"{name}.py").is_file(), name
    layer = {unit: number for number, units in enumerate(LAYERS) for unit in units}
    order = [layer[name] for name, _ in names]
    assert order == sorted(order)
    assert {name for name, _ in names} == set(layer) - {"__main__"}
