"""Fixtures of runs and of downloads; whatever a test leaves behind is ended after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from file_server import Site
from runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def new_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Makes runs under this test's folder; whatever a test leaves behind is killed after it."""
    runs: list[Run] = []

    def make(**arguments: Any) -> Run:
        folder = tmp_path / str(len(runs))
        folder.mkdir()
        runs.append(Run(folder, **arguments))
        return runs[-1]

    yield make
    for run in runs:
        run.end()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()
