"""The CSV files of a power study, from what its trials left."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from harness_llm.core import EventStatus
from harness_llm.errors import FolderError
from harness_llm.power.stats_files import write_stats
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.reading import as_json, write_record
from harness_llm.study.points import TrialRecord
from harness_llm.transport.spec import DriverSpec, DriverTest, write_spec

SECOND = 1_000_000_000


def _events(issued_s: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Eight answers finish at the end of each of twenty seconds."""
    events = np.zeros(160, EVENT_DTYPE)
    events["issued_ns"] = issued_s * SECOND
    events["finished_ns"] = (np.repeat(np.arange(20), 8) + 1) * SECOND
    events["tokens"], events["status"] = 10, EventStatus.FINISHED
    return events


def _trial(study: Path, holds: int, events: npt.NDArray[Any]) -> Path:
    """A trial at an engine that holds so many requests; returns its folder."""
    folder = study / "trials" / "8 open #1" / "inference"
    folder.mkdir(parents=True)
    np.save(folder / "events.npy", events)
    settings = {"phase": "inference", "knob": "load", "value": 8.0}
    record = TrialRecord(label="8 open", number=1, settings=settings, loads={"inference": {}})  # type: ignore[arg-type]
    write_record(folder.parent / "trial.json", record)
    facts = study / "fleets" / "inference" / "inference" / "0" / "facts.json"
    facts.parent.mkdir(parents=True)
    facts.write_bytes(msgspec.json.encode({"max_concurrent": holds}))
    (study / "asked.json").write_bytes(as_json({"marker": ""}))
    return folder


def _rows(study: Path) -> list[dict[str, str]]:
    write_stats(study, study)
    return list(csv.DictReader((study / "inference_stats.csv").read_text().splitlines()))


@pytest.mark.parametrize("holds", [4, 8, 1024])
def test_a_load_is_steady_while_all_that_it_keeps_open_are(tmp_path: Path, holds: int) -> None:
    events = _events(np.repeat(np.arange(20), 8))
    events["first_token_ns"] = events["issued_ns"] + SECOND // 2
    folder = _trial(tmp_path, holds, events)
    test = DriverTest("inference", "", "", "slots", width=8)
    write_spec(DriverSpec("inference", "", [], str(folder), test), folder / "spec.json")
    rows = _rows(tmp_path)
    assert {row["window_seconds"] for row in rows} == {"19.5"}  # the first half second fills it
    assert float(rows[0]["window_tokens"]) == pytest.approx(1600)


def test_an_offline_test_has_one_rate_though_all_its_samples_come_at_once(tmp_path: Path) -> None:
    (_trial(tmp_path, 8, _events(np.zeros(160))) / "test.json").touch()  # of LoadGen's
    rows = _rows(tmp_path)
    assert [float(row["tokens_per_sec"]) for row in rows] == pytest.approx([80] * 19)
    assert float(rows[0]["window_tokens"]) == pytest.approx(80 * 19)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "left out: "),
        (lambda path: np.save(path, _events(np.zeros(160))[:0]), "nothing was answered"),
    ],
)
def test_a_trial_whose_files_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, harm: Callable[[Path], None], said: str
) -> None:
    folder = _trial(tmp_path, 8, _events(np.zeros(160)))
    (folder / "test.json").touch()
    other = tmp_path / "trials" / "9 open #1"
    shutil.copytree(folder.parent, other)
    harm(other / "inference" / "events.npy")
    lines = write_stats(tmp_path, tmp_path)
    assert "inference_stats.csv: 19 rows of 1 trials" in lines
    assert "9 open #1: left out: " in lines[-1] and said in lines[-1]


def test_a_damaged_asked_json_is_named(tmp_path: Path) -> None:
    _trial(tmp_path, 8, _events(np.zeros(160)))
    (tmp_path / "asked.json").write_bytes(b'{"mar')
    with pytest.raises(FolderError, match="asked.json: cannot be read: "):
        write_stats(tmp_path, tmp_path)
