from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from harness_llm.accuracy.metrics import sentences
from harness_llm.accuracy.metrics.sentences import has_sentence_model, split_sentences
from harness_llm.fetch.punkt import PUNKT_FILE
from harness_llm.files import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = {
    "abbrev_types.txt": "dr\nprof",
    "collocations.tab": "##number##\tth",
    "sent_starters.txt": "however\nthis",
    "ortho_context.tab": "he\t14\nwho\t2",
}


def _write_archive(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in FILES.items():
            archive.writestr(f"punkt_tab/english/{name}", text)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of data sets, with nltk looking nowhere else."""
    data = pytest.importorskip("nltk.data")
    monkeypatch.setattr(data, "path", [])
    monkeypatch.setenv("LAB_DATASET", str(tmp_path))
    sentences._model.cache_clear()
    yield tmp_path
    sentences._model.cache_clear()


@pytest.fixture
def archive(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive where it is fetched to, as a group may write it; nltk by itself reads no such file."""
    path = root / PUNKT_FILE
    _write_archive(path)
    for each in (path, *path.parents[:2]):
        each.chmod(0o777)
    monkeypatch.setattr(sentences, "PUNKT_SHA256", file_digest(path))
    return path


def test_without_the_data_there_is_no_model(root: Path) -> None:
    assert not has_sentence_model()


def test_what_was_fetched_is_read_whoever_may_write_it(archive: Path) -> None:
    assert archive.is_file()
    assert has_sentence_model()
    assert split_sentences("Dr. Who met them. He left.") == ["Dr. Who met them.", "He left."]


def test_every_parameter_is_the_one_that_nltk_reads(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pytest.importorskip("nltk.data")
    punkt = pytest.importorskip("nltk.tokenize.punkt")
    found = sentences._model()._params
    for each in (archive, *archive.parents[:2]):
        each.chmod(0o644 if each == archive else 0o755)
    monkeypatch.setattr(data, "path", [str(archive.parents[1])])
    own = punkt.PunktTokenizer("english")._params
    for name in ("collocations", "sent_starters", "abbrev_types", "ortho_context"):
        assert getattr(found, name) == getattr(own, name) and getattr(found, name), name


def test_another_archive_in_its_place_is_not_read(archive: Path) -> None:
    with archive.open("ab") as file:
        file.write(b" ")
    assert not has_sentence_model()
