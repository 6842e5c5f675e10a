"""benchmarks/figures.py, which is no package: read from its file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from harness_llm.system.facts import Accelerator

if TYPE_CHECKING:
    from types import ModuleType

FILE = Path(__file__).parents[3] / "benchmarks" / "figures.py"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_figures", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "_LOOK_S", 0.01)
    return module


def test_a_card_is_named_once_with_its_vendor(figures: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = (Accelerator("NVIDIA H200", "NVIDIA"), Accelerator("Instinct MI300X", "AMD"))
    host = SimpleNamespace(cpu=SimpleNamespace(model="a CPU"), accelerators=cards)
    monkeypatch.setattr(figures, "detect", lambda: host)
    assert figures.Machine().facts()["accelerators"] == ["NVIDIA H200", "AMD Instinct MI300X"]
