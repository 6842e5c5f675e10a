"""What a run may go on with, and what is said where it began otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from own_benchmark import Setup

from harness_llm.errors import FolderError, HostError, RunBroken
from harness_llm.results.paths import RUN_JSON
from harness_llm.results.reading import read_record
from harness_llm.results.records import RunRecord
from harness_llm.run import execute as execute_module
from harness_llm.run.execute import execute, find_unfinished
from harness_llm.system import provenance
from harness_llm.testing import RecordingView


def _breaks(*_: object) -> None:
    """Stands in for `measure_groups`."""
    raise RunBroken("as the test wants")


@pytest.fixture
def broken(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that began with commit aaa and vLLM 1."""
    monkeypatch.setattr(execute_module, "measure_groups", _breaks)
    monkeypatch.setattr(provenance, "packages", lambda: {"vllm": "1"})
    _commit(monkeypatch, "a" * 40)
    _go_on(setup, setup.folder / "run", resume=False)
    return setup.folder / "run"


def _commit(monkeypatch: pytest.MonkeyPatch, commit: str | None) -> None:
    monkeypatch.setattr(
        provenance, "git_state", lambda _: provenance.GitState(commit=commit, dirty=None, changed=[])
    )


def _go_on(setup: Setup, output: Path, *, resume: bool = True, **harness: Any) -> list[str]:
    view = RecordingView()
    with pytest.raises(RunBroken, match="as the test wants"):
        execute(setup.prepared(**harness), output, view, resume=resume)
    return view.said


def test_nothing_is_said_of_a_run_that_goes_on_with_the_same_source(setup: Setup, broken: Path) -> None:
    assert _go_on(setup, broken) == []
    assert find_unfinished(setup.prepared(), setup.folder) == broken


def test_another_version_of_a_package_is_another_run(
    setup: Setup, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "packages", lambda: {"vllm": "2"})
    assert find_unfinished(setup.prepared(), setup.folder) is None
    with pytest.raises(FolderError, match="package vllm: was 1, is 2"):
        execute(setup.prepared(), broken, RecordingView(), resume=True)
    assert read_record(broken / RUN_JSON, RunRecord).packages == {"vllm": "1"}


def test_another_commit_is_said(setup: Setup, broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _commit(monkeypatch, "b" * 40)
    (said,) = _go_on(setup, broken)
    assert f"commit {'a' * 12}" in said
    assert "b" * 12 in said
    assert read_record(broken / RUN_JSON, RunRecord).git.commit == "b" * 40
    _commit(monkeypatch, None)
    (said,) = _go_on(setup, broken)
    assert "with none" in said


@pytest.mark.parametrize(
    "waits", [{"stall_timeout_s": 5.0}, {"silence_timeout_s": 5.0}, {"engine_start_timeout_s": 5.0}]
)
def test_more_patience_is_no_other_run(setup: Setup, broken: Path, waits: dict[str, float]) -> None:
    assert _go_on(setup, broken, **waits) == []


def test_a_disk_that_fills_as_the_run_is_recorded_ends_it_by_name(setup: Setup, broken: Path) -> None:
    (broken / "config/Offline.yaml").unlink()
    (broken / "config/Offline.yaml").mkdir()  # as good as no space: it cannot be written
    with pytest.raises(HostError, match="Offline.yaml"):
        execute(setup.prepared(), broken, RecordingView(), resume=True)
    assert read_record(broken / RUN_JSON, RunRecord).state == "broken"
