"""The CSV files of a power study, from what its trials left."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness_llm.core import EventStatus
from harness_llm.power.stats_files import write_stats
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.reading import as_json, write_record
from harness_llm.study.points import TrialRecord
from harness_llm.transport.spec import DriverSpec, DriverTest, write_spec

SECOND = 1_000_000_000


def _eight_open(study: Path, holds: int) -> None:
    """A trial of 20 s with 8 requests open, of 1 s each, at an engine that holds so many."""
    folder = study / "trials" / "8 open #1" / "inference"
    folder.mkdir(parents=True)
    events = np.zeros(160, EVENT_DTYPE)
    events["issued_ns"] = np.repeat(np.arange(20), 8) * SECOND
    events["first_token_ns"] = events["issued_ns"] + SECOND // 2
    events["finished_ns"] = events["issued_ns"] + SECOND
    events["tokens"], events["status"] = 10, EventStatus.FINISHED
    np.save(folder / "events.npy", events)
    test = DriverTest("inference", "", "", "slots", width=8)
    write_spec(DriverSpec("inference", "", [], str(folder), test), folder / "spec.json")
    settings = {"phase": "inference", "knob": "load", "value": 8.0}
    record = TrialRecord(label="8 open", number=1, settings=settings, loads={"inference": {}})  # type: ignore[arg-type]
    write_record(folder.parent / "trial.json", record)
    facts = study / "fleets" / "inference" / "inference" / "0" / "facts.json"
    facts.parent.mkdir(parents=True)
    facts.write_bytes(msgspec.json.encode({"max_concurrent": holds}))
    (study / "asked.json").write_bytes(as_json({"marker": ""}))


@pytest.mark.parametrize("holds", [4, 8, 1024])
def test_a_load_is_steady_while_all_that_it_keeps_open_are(tmp_path: Path, holds: int) -> None:
    _eight_open(tmp_path, holds)
    write_stats(tmp_path, tmp_path)
    rows = list(csv.DictReader((tmp_path / "inference_stats.csv").read_text().splitlines()))
    assert {row["window_seconds"] for row in rows} == {"19.5"}  # the first half second fills it
    assert float(rows[0]["window_tokens"]) == pytest.approx(1600)
