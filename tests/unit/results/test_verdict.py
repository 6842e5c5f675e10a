"""The verdict on recorded tests of real LoadGen: nothing against a good one, a sentence for each fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from golden.run_folder import build_run, edit, events

from harness_llm.datasets.table import SampleTable
from harness_llm.results.observed import AnswerRecord
from harness_llm.results.paths import EVENTS_NPY, SHARED_SAMPLES
from harness_llm.results.records import DatasetRecord, TestRecord
from harness_llm.results.run_folder import TestFolder
from harness_llm.results.verdict import TestVerdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

S, MS = 10**9, 10**6
VALID = {
    "toy-offline-valid": "Offline",
    "toy-server-valid": "Server",
    "rehearsal-offline": "Offline",
    "rehearsal-server": "Server",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return build_run(tmp_path / "run")


def verdict(folder: Path, **changes: Any) -> TestVerdict:
    return judge(folder, msgspec.structs.replace(TestFolder(folder).record(), **changes))


@pytest.mark.parametrize(("log", "scenario"), VALID.items())
def test_nothing_speaks_against_a_test_that_was_valid(tmp_path: Path, log: str, scenario: str) -> None:
    folder = build_run(tmp_path / "run", {f"{scenario}/performance": log}) / scenario / "performance"
    assert len(events(folder)) >= 64
    assert verdict(folder).reasons == ()


def _spoil(place: Path, change: Callable[[np.ndarray], Any]) -> None:
    rows = events(place)
    changed = change(rows)
    np.save(place / EVENTS_NPY, rows if changed is None else changed)


def _shift(rows: np.ndarray, field: str, ns: int) -> None:
    rows[field] += ns


def _later(rows: np.ndarray, ns: int) -> None:
    """As if the system clock had gone back by so much in the middle: events go on by the true time."""
    half = len(rows) // 2
    for field in ("issued_ns", "first_token_ns", "finished_ns"):
        rows[field][half:] += np.where(rows[field][half:] > 0, ns, 0)


@pytest.mark.parametrize("seconds", [0.1, 7])
@pytest.mark.parametrize("scenario", ["Offline", "Server"])
def test_a_clock_that_went_back_is_seen_with_both_figures(run: Path, scenario: str, seconds: float) -> None:
    place = run / scenario / "performance"
    _spoil(place, lambda rows: _later(rows, int(seconds * S)))
    found = verdict(place)
    assert found.invalid == ()
    rate = {"Offline": "0.500 s and 3,070.8 tokens/s", "Server": "1.600 s and 9,599.4 tokens/s"}[scenario]
    assert f"LoadGen measured {rate}, the harness " in found.mismeasured[0]
    ours = 1536 / (0.5 + seconds) if scenario == "Offline" else 15360 / (1.6 + seconds)
    shown = float(
        found.mismeasured[0].split("the harness ")[1].split(" s and ")[1].split()[0].replace(",", "")
    )
    assert shown == pytest.approx(ours, rel=0.02)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: _later(rows, -400 * MS), "LoadGen's TTFT has a 50% percentile of 10.2 ms"),
        (lambda rows: rows[:-1], "LoadGen's log has 640 samples, the harness's events 639"),
        (lambda rows: rows["status"].__setitem__(3, 2), "of which 639 are answered"),
        (lambda rows: rows["tokens"].__setitem__(3, 3), "LoadGen counted 15,360 tokens, the harness 15,339"),
        (
            lambda rows: _shift(rows, "first_token_ns", 8 * MS),
            "LoadGen's TTFT has a 50% percentile of 10.2 ms",
        ),
        (lambda rows: _shift(rows, "finished_ns", 99 * MS), "LoadGen's TPOT has a 50% percentile of 0.5 ms"),
        (lambda rows: rows["tokens"].__setitem__(3, 0), "1 of 640 answers have fewer tokens than"),
        (lambda rows: rows["tokens"].__setitem__(3, 4000), "4,000, where the limit is 24"),
    ],
)
def test_what_log_and_events_do_not_agree_on(
    run: Path, change: Callable[[np.ndarray], Any], said: str
) -> None:
    place = run / "Server" / "performance"
    table = SampleTable.load(run / SHARED_SAMPLES)
    asked = DatasetRecord(name="toy", samples=64, digest=table.digest)
    assert verdict(place, dataset=asked).reasons == ()
    _spoil(place, change)
    assert any(said in reason for reason in verdict(place, dataset=asked).mismeasured)


def answers(**changes: Any) -> AnswerRecord:
    usual = {"answers": 64, "one_token_id": 0, "other_first_token": 0, "odd_length": 0, "are_alike": False}
    return AnswerRecord(**(usual | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"other_first_token": 1}, "replica 1: 1 of 64 answers begin with another token"),
        ({"odd_length": 2}, "replica 1: 2 of 64 answers are no whole tokens"),
        ({"no_token": 3}, "replica 1: 3 of 64 answers have token ids that no vocabulary has"),
        ({"one_token_id": 64}, "replica 1: 64 of 64 answers repeat a single token id"),
        ({"are_alike": True}, "replica 1: all 64 answers are the same, though the prompts differ"),
    ],
)
@pytest.mark.parametrize("test", ["Offline/performance", "Server/accuracy"])
def test_answers_that_no_sound_engine_gives(run: Path, test: str, changes: dict[str, Any], said: str) -> None:
    place = run / test
    table = SampleTable.from_prompts("toy", [[n, 2] for n in range(64)], max_tokens=24, min_tokens=2)
    table.save(run / SHARED_SAMPLES)
    asked = DatasetRecord(name="toy", samples=64, digest=table.digest)
    _spoil(place, lambda rows: rows["replica"].__setitem__(slice(None), 1))
    assert verdict(place, dataset=asked, answers=(answers(answers=0), answers())).reasons == ()
    found = verdict(place, dataset=asked, answers=(answers(answers=0), answers(**changes)))
    assert len(found.mismeasured) == 1 and said in found.mismeasured[0]


def test_a_model_of_random_weights_may_repeat_a_token(run: Path) -> None:
    repeated = (answers(one_token_id=64),)
    assert "repeat a single token id" in verdict(run / "Offline/performance", answers=repeated).mismeasured[0]
    (run / "config" / "Offline.yaml").write_text("llm_config: {load_format: random}")
    assert verdict(run / "Offline/performance", answers=repeated).reasons == ()


def test_the_same_answers_to_the_same_prompts_are_no_fault(run: Path) -> None:
    place = run / "Offline" / "performance"
    digest = SampleTable.load(run / SHARED_SAMPLES).digest  # of 64 equal prompts
    asked = DatasetRecord(name="toy", samples=64, digest=digest)
    assert verdict(place, dataset=asked, answers=(answers(are_alike=True),)).reasons == ()


def test_a_step_counts_where_figures_are_measured(run: Path) -> None:
    steps = {"clock_steps_s": (-7.0,)}
    (reason,) = verdict(run / "Offline/performance", **steps).mismeasured
    assert "the system clock, by which LoadGen measures, was set by -7.000 s" in reason
    assert verdict(run / "Offline/accuracy", **steps).reasons == ()


def test_damaged_files_are_reasons_and_never_raised(run: Path) -> None:
    place = run / "Server" / "performance"
    (place / EVENTS_NPY).write_bytes(b"\x93NUMPY")
    assert "events.npy" in verdict(place).mismeasured[0]
    (place / "mlperf_log_detail.txt").write_bytes(b"\0")
    assert verdict(place).invalid
    edit(place / "test.json", clock_steps_s=[0.5])
    assert TestFolder(place).record().clock_steps_s == (0.5,)
    assert judge(run / "nowhere", TestRecord.blank()).mismeasured


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample", -1),
        ("replica", -1),
        ("finished_ns", 1),
        ("first_token_ns", 1),
        ("first_token_ns", 1 << 62),
        ("issued_ns", 1 << 62),
    ],
)
def test_rows_that_no_test_writes_are_seen(run: Path, field: str, value: int) -> None:
    place = run / "Server" / "accuracy"

    def spoil(rows: np.ndarray) -> None:
        rows[field][3] = value

    _spoil(place, spoil)
    found = [text for text in verdict(place).mismeasured if " cannot be, the first row" in text]
    assert len(found) == 1
