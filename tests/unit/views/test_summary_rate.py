"""Tokens/s of an Offline run whose user.conf leaves use_token_latencies off: LoadGen counts samples only."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from golden.run_folder import build_run, edit, events
from rich.console import Console

from harness_llm.check import check_run
from harness_llm.errors import FolderError
from harness_llm.logs.detail import DetailLog
from harness_llm.views.run_summary import ScenarioSummary, summarize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOG = "mlperf_log_detail.txt"
PREFIX = ":::MLLOG "


def change(log: Path, **values: Any) -> None:
    """Give keys of a detail log other values; None takes the line out."""
    lines = []
    for line in log.read_text().splitlines():
        record = json.loads(line.removeprefix(PREFIX))
        value = values.get(record["key"], record["value"])
        if value is not None:
            lines.append(PREFIX + json.dumps(record | {"value": value}))
    log.write_text("\n".join(lines) + "\n")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A good Offline run with token latencies off."""
    folder = build_run(tmp_path / "run", {"Offline/performance": "toy-offline-valid"})
    performance = folder / "Offline" / "performance"
    change(performance / LOG, result_tokens_per_second=None, requested_use_token_latencies=False)
    conf = (
        (performance / "user.conf").read_text().replace("use_token_latencies = 1", "use_token_latencies = 0")
    )
    (performance / "user.conf").write_text(conf)
    summary = performance / "mlperf_log_summary.txt"
    kept = [line for line in summary.read_text().splitlines() if not line.startswith("Tokens per second")]
    summary.write_text("\n".join(kept) + "\n")
    return folder


def row(run: Path) -> ScenarioSummary:
    (found,) = summarize(run).scenarios
    return found


def shown(run: Path) -> str:
    text = io.StringIO()
    Console(width=140, file=text).print(summarize(run).table())
    return text.getvalue()


def test_our_tokens_over_loadgens_time_are_loadgens_metric(tmp_path: Path, run: Path) -> None:
    whole = build_run(tmp_path / "whole", {"Offline/performance": "toy-offline-valid"})
    metric = DetailLog.read(whole / "Offline" / "performance" / LOG).tokens_per_second
    assert row(whole).tokens_per_s == metric and row(whole).tokens_per_s_events is None
    assert "(events)" not in shown(whole)
    assert row(run).tokens_per_s is None
    assert row(run).tokens_per_s_events == pytest.approx(metric, rel=1e-5)
    assert f"{metric:,.1f} (events)" in shown(run)


def test_such_a_run_passes_its_check_and_the_metric_is_not_judged(run: Path) -> None:
    report = check_run(run)
    assert report.failures == ()
    (metric,) = (check for check in report.checks if check.name == "performance.metric")
    assert metric.passed is None and "samples/s, use_token_latencies is off" in metric.found
    (tokens,) = (check for check in report.checks if check.name == "events.tokens")
    assert tokens.passed and "samples/s within 2 %" in tokens.required


def test_loadgens_samples_are_still_held_against_the_events(run: Path) -> None:
    place = run / "Offline" / "performance"
    rows = events(place)
    rows["issued_ns"] -= 10_000_000_000
    np.save(place / "events.npy", rows)
    assert {check.name for check in check_run(run).failures} == {"events.tokens", "test.verdict"}
    (reason,) = row(run).reasons
    assert "0.500 s and 128.0 samples/s, the harness 10.5" in reason


def test_a_run_without_either_rate_fails(run: Path) -> None:
    change(run / "Offline" / "performance" / LOG, result_samples_per_second=None)
    assert {"performance.metric", "events.tokens"} <= {check.name for check in check_run(run).failures}
    assert row(run).tokens_per_s_events is None


def lose_one(rows: np.ndarray) -> np.ndarray:
    return rows[:-1]


def fail_one(rows: np.ndarray) -> np.ndarray:
    rows["status"][3] = 4
    return rows


def no_rows(rows: np.ndarray) -> np.ndarray:
    return rows[:0]


@pytest.mark.parametrize("damage", [lose_one, fail_one, no_rows])
def test_events_that_do_not_fit_loadgens_count_give_no_rate(
    run: Path, damage: Callable[[np.ndarray], np.ndarray]
) -> None:
    place = run / "Offline" / "performance"
    np.save(place / "events.npy", damage(events(place)))
    assert row(run).tokens_per_s_events is None
    assert "(events)" not in shown(run)


def test_a_damaged_event_file_gives_no_rate_and_no_traceback(run: Path) -> None:
    (run / "Offline" / "performance" / "events.npy").write_bytes(b"\x93NUMPY\x01\x00\x02\x00((")
    assert row(run).tokens_per_s_events is None


def test_a_number_that_fits_no_float_is_shown_as_none(run: Path) -> None:
    change(run / "Offline" / "performance" / LOG, result_samples_per_second=10**400)
    assert row(run).tokens_per_s_events is None


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("Offline/performance/test.json", {}, "performance/test.json: format: expected 1 to 2, found None"),
        ("Offline/performance/test.json", {"format": 2, "state": "fine"}, "state: .*found 'fine'"),
        ("Offline/accuracy/accuracy.json", {"passed": True}, "accuracy.json: metric: is missing"),
        ("run.json", {"format": 2, "tests": ["Offline/performance"]}, "run.json: benchmark: is missing"),
    ],
)
def test_a_damaged_record_is_an_error_with_a_remedy(
    tmp_path: Path, file: str, content: object, named: str
) -> None:
    tests = {"Offline/performance": "toy-offline-valid", "Offline/accuracy": "toy-offline-accuracy"}
    folder = build_run(tmp_path / "run", tests)
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(FolderError, match=named) as caught:
        summarize(folder)
    assert "harness-llm check" in caught.value.remedy


def test_the_run_as_json_has_both_rates_by_name(run: Path) -> None:
    (found,) = summarize(run).to_json()["scenarios"]
    assert found["tokens_per_s"] is None and found["tokens_per_s_events"] > 0
    edit(run / "run.json", state="broken")
    assert summarize(run).to_json()["valid"] is False
