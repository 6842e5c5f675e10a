"""Records are written and read as one type; strictly, or as far as they are sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from harness_llm.errors import FolderError
from harness_llm.results.reading import read_record, sound_record, write_record
from harness_llm.results.record_base import Record
from harness_llm.results.records import (
    FORMAT,
    AccuracyRecord,
    DatasetRecord,
    RunRecord,
    SourceRecord,
    TestRecord,
    Verdict,
)
from harness_llm.results.study_folder import StudyRecord

RUN = replace(
    RunRecord.blank(),
    benchmark="mine",
    simulated=False,
    state="complete",
    git=SourceRecord(commit="c", dirty=True, changed=("a", "b")),
    dataset=DatasetRecord(name="d", samples=3, digest="x"),
    test_datasets={"TEST07": DatasetRecord(name="e", samples=4, digest="y", file="samples_TEST07.npz")},
    tests=("Offline/performance", "Offline/TEST07", "Server/performance"),
    host={"cpu": {"threads": 2}},
)


def edited(path: Path, **changes: Any) -> Path:
    """A run.json with other values; a value of `...` takes the key out."""
    write_record(path, RUN)
    document = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))
    return path


@pytest.mark.parametrize(
    "record",
    [
        RUN,
        replace(TestRecord.blank(), samples=4, compliance=Verdict(passed=True)),
        replace(AccuracyRecord.blank(), scores={"rouge1": 40.5}, tokens_per_sample_window=(1.0, 2.0)),
        StudyRecord.blank(),
    ],
    ids=lambda record: type(record).__name__,
)
def test_what_was_written_is_read(tmp_path: Path, record: Record) -> None:
    write_record(tmp_path / "x.json", record)
    assert read_record(tmp_path / "x.json", type(record)) == record
    assert sound_record(tmp_path / "x.json", type(record)) == (record, ())


def test_keys_that_are_not_known_are_left_alone(tmp_path: Path) -> None:
    path = edited(tmp_path / "x.json", colour="red", git={"commit": "c", "branch": "main"})
    assert read_record(path, RunRecord).git == SourceRecord(commit="c")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"benchmark": ...}, "benchmark: is missing"),
        ({"benchmark": 3}, r"benchmark: Expected `str`, got `int`; found 3"),
        ({"state": "fine"}, "state: .*found 'fine'"),
        ({"tests": ["a", 7]}, r"tests: .*\$\[1\]"),
        ({"tests": ["../other/Offline/performance"]}, r"tests: .*matching regex"),
        ({"tests": ["Offline/../../x"]}, r"tests: .*matching regex"),
        ({"tests": ["/x"]}, r"tests: .*matching regex"),
        ({"dataset": {"name": "d", "samples": "3", "digest": "x"}}, r"dataset\.samples: .*found '3'"),
        ({"dataset": {"name": "d", "digest": "x"}}, r"dataset\.samples: is missing"),
        ({"dataset": None}, "dataset: "),
        ({"test_datasets": {"TEST07": {}}}, "test_datasets: "),
        ({"format": ...}, f"format: expected 1 to {FORMAT}, found None"),
        ({"format": "1"}, "format: expected"),
        ({"format": True}, "format: expected"),
        ({"format": 0}, "format: expected"),
        ({"format": FORMAT + 1}, f"format: {FORMAT + 1} is of a newer version"),
    ],
    ids=str,
)
def test_a_damaged_key_is_named_with_what_was_found(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    path = edited(tmp_path / "x.json", **changes)
    with pytest.raises(FolderError, match=rf"x\.json: {named}") as caught:
        read_record(path, RunRecord)
    assert caught.value.remedy
    record, problems = sound_record(path, RunRecord)
    assert record is not None and len(problems) == 1
    assert record.host == RUN.host, "the rest is sound"


def test_what_is_not_sound_speaks_against_the_run(tmp_path: Path) -> None:
    path = edited(tmp_path / "x.json", simulated="no", state=[], dataset={"samples": 3, "digest": 4})
    record, problems = sound_record(path, RunRecord)
    assert record is not None and len(problems) == 4
    assert record.simulated and record.state == "broken" and not record.official
    assert record.dataset.samples == 3 and record.dataset.name == "unknown"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 100_000, b'{"format": NaN}'])
def test_what_holds_no_object_has_no_record(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    record, problems = sound_record(path, RunRecord)
    assert record is None and len(problems) == 1
    with pytest.raises(FolderError, match=r"x\.json"):
        read_record(path, RunRecord)


def test_a_missing_record_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"none\.json: is missing") as caught:
        read_record(tmp_path / "none.json", RunRecord, "Run it.")
    assert caught.value.remedy == "Run it."


def test_tests_and_samples_by_scenario() -> None:
    assert RUN.by_scenario() == {"Offline": ["performance", "TEST07"], "Server": ["performance"]}
    assert RUN.dataset_of("TEST07").samples == 4 and RUN.dataset_of("performance").samples == 3
