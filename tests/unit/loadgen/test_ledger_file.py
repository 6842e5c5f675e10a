"""The events file as others see it while it comes to be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from harness_llm.loadgen.ledger import Ledger
from harness_llm.results.events import read_events

if TYPE_CHECKING:
    from pathlib import Path


def test_a_reader_never_sees_a_file_without_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.npy"
    allocate = os.posix_fallocate
    seen = []

    def looked_at(descriptor: int, offset: int, length: int) -> None:
        seen.append(path.exists())
        allocate(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", looked_at)
    ledger = Ledger(path, capacity=2)
    assert seen == [False]
    assert len(read_events(path)) == 0
    ledger.record_issue([1, 2, 3], [0, 0, 0], [5, 5, 5])
    assert seen == [False, True]
    assert len(read_events(path)) == 3
    ledger.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["events.npy"]
