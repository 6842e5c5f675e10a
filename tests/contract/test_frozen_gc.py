"""Python's garbage collector walks none of the objects of a process on a sample's way."""

from __future__ import annotations

import gc
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness_llm.driver import process as driver
from harness_llm.loadgen import asking
from harness_llm.loadgen import process as loadgen
from harness_llm.replica import process as replica

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


@pytest.fixture
def own_gc() -> Iterator[None]:
    before = gc.get_threshold()
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)
    gc.enable()


@pytest.mark.usefixtures("own_gc")
def test_a_replica_freezes_what_it_has_loaded_and_looks_seldom() -> None:
    replica._tame_gc()
    assert gc.get_freeze_count() > 1000 and gc.get_threshold()[0] >= 50_000
    source = Path(replica.__file__).read_text()
    assert source.index("await engine.start") < source.index("_tame_gc()\n            control.send(Ready")


@pytest.mark.usefixtures("own_gc")
@pytest.mark.parametrize("process", [loadgen, driver])
def test_a_process_that_asks_freezes_and_stops_it(
    monkeypatch: pytest.MonkeyPatch, process: ModuleType, tmp_path: Path
) -> None:
    seen = []

    class Work:
        def run(self) -> None:
            seen.append((gc.isenabled(), gc.get_freeze_count() > 1000, sys.getswitchinterval() < 0.005))

    monkeypatch.setattr(asking, "die_with_parent", lambda: None)
    monkeypatch.setattr(process, "_Test" if process is loadgen else "_Driver", lambda *_: Work())
    monkeypatch.setattr(process, "read_spec", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["python", str(tmp_path)])
    before = sys.getswitchinterval()
    try:
        process.main()
    finally:
        sys.setswitchinterval(before)
    assert seen == [(False, True, True)]


def test_vllm_freezes_it_in_its_engine_core() -> None:
    found = importlib.util.find_spec("vllm")
    if found is None or found.origin is None:
        pytest.skip("vLLM is not installed")
    core = Path(found.origin).parent / "v1" / "engine" / "core.py"
    assert "freeze_gc_heap()" in core.read_text()
