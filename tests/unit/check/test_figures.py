"""Each figure of a log follows from others; one that was edited is refused by the check of its kind."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from golden.recorded import unpack

from harness_llm import rules
from harness_llm.check.case import Case
from harness_llm.check.figures import answer_length, figure_checks
from harness_llm.check.logfile import log_checks
from harness_llm.core import Scenario
from harness_llm.results.paths import ACCURACY_TXT

BENCHMARK, ROUND, PREFIX = "llama2-70b-99.9", "v6.1", ":::MLLOG "
RECORDED = {Scenario.OFFLINE: "llama2-offline", Scenario.SERVER: "llama2-server"}


def case_of(folder: Path, scenario: Scenario, division: str = "closed", length: float = 294.4) -> Case:
    unpack(RECORDED[scenario], folder / "performance")
    (folder / "accuracy").mkdir()
    (folder / "accuracy" / ACCURACY_TXT).write_text(f"{{'tokens_per_sample': {length}}}\n")
    return fresh(folder, scenario, division)


def fresh(folder: Path, scenario: Scenario, division: str = "closed") -> Case:
    return Case(
        root=folder,
        benchmark=BENCHMARK,
        scenario=scenario,
        round=ROUND,
        division=division,
        rules=rules.lookup(BENCHMARK, ROUND),
        layout="tree",
        folder=folder,
        performance=folder / "performance",
        accuracy=folder / "accuracy",
        user_conf=folder / "performance" / "user.conf",
    )


def edit(case: Case, **values: object) -> Case:
    """The case after keys of its detail log were given other values."""
    path = case.detail.path
    rows = [json.loads(line[len(PREFIX) :]) for line in path.read_text().splitlines()]
    for row in rows:
        row["value"] = values.get(row["key"], row["value"])
    path.write_text("".join(f"{PREFIX}{json.dumps(row)}\n" for row in rows))
    return fresh(case.folder, case.scenario, case.division or "closed")


def refused(case: Case) -> set[str]:
    return {check.name for check in figure_checks(case) if check.passed is False}


@pytest.mark.parametrize("scenario", list(RECORDED))
def test_a_real_log_agrees_with_itself(tmp_path: Path, scenario: Scenario) -> None:
    case = case_of(tmp_path, scenario)
    found = {check.name: check.passed for check in figure_checks(case)}
    assert set(found.values()) == {True} and len(found) == 5, found
    assert answer_length(case) == pytest.approx(294, rel=2e-5)


@pytest.mark.parametrize(
    ("scenario", "key"),
    [
        (Scenario.OFFLINE, "result_tokens_per_second"),
        (Scenario.SERVER, "result_completed_tokens_per_second"),
    ],
)
def test_ten_times_the_tokens(tmp_path: Path, scenario: Scenario, key: str) -> None:
    case = case_of(tmp_path, scenario)
    found = refused(edit(case, **{key: case.detail.number(key) * 10}))  # type: ignore[operator]
    assert found == {"performance.answer-length", "performance.length-agrees"}


@pytest.mark.parametrize(
    ("scenario", "key"),
    [
        (Scenario.OFFLINE, "result_samples_per_second"),
        (Scenario.SERVER, "result_completed_samples_per_sec"),
    ],
)
def test_twice_the_samples(tmp_path: Path, scenario: Scenario, key: str) -> None:
    case = case_of(tmp_path, scenario)
    found = refused(edit(case, **{key: case.detail.number(key) * 2}))  # type: ignore[operator]
    assert "performance.rate" in found


@pytest.mark.parametrize(
    "values",
    [
        {"result_min_latency_ns": -5},
        {"result_min_latency_ns": 10**15},
        {"result_mean_latency_ns": 0},
        {"result_99.00_percentile_latency_ns": 10**15},
    ],
)
def test_latencies_that_cannot_be(tmp_path: Path, values: dict[str, int]) -> None:
    assert "performance.latencies" in refused(edit(case_of(tmp_path, Scenario.OFFLINE), **values))


@pytest.mark.parametrize("seconds", [-60.0, 1.0, 60.0])
def test_a_clock_apart_from_the_measured_time(tmp_path: Path, seconds: float) -> None:
    case = case_of(tmp_path, Scenario.OFFLINE)
    form = "%m-%d-%Y %H:%M:%S.%f"
    ended = datetime.strptime(str(case.detail.value("power_end")), form) + timedelta(seconds=seconds)
    assert refused(edit(case, power_end=ended.strftime(form)[:-3])) == {"performance.clock"}


def test_times_in_reverse(tmp_path: Path) -> None:
    case = case_of(tmp_path, Scenario.SERVER)
    path = case.detail.path
    text = path.read_text()
    times = re.findall(r'"time_ms": ([\d.]+)', text)[::-1]
    assert len(set(times)) > 1
    path.write_text(re.sub(r'(?<="time_ms": )[\d.]+', lambda _: times.pop(0), text))
    case = fresh(tmp_path, Scenario.SERVER)
    found = {
        check.name: check.passed for check in log_checks(case, "performance", case.detail, "PerformanceOnly")
    }
    assert found["performance.log-times"] is False and found["performance.log"] is True


def test_one_token_over_the_limit_is_a_note_and_other_lengths_in_open_are(tmp_path: Path) -> None:
    case = case_of(tmp_path, Scenario.OFFLINE, "open", length=200.0)
    found = {check.name: check.passed for check in figure_checks(case)}
    assert found["performance.length-agrees"] is None
    rate = case.detail.number("result_samples_per_second")
    assert rate
    longer = edit(case, result_tokens_per_second=rate * 1024.5)
    found = {check.name: check.passed for check in figure_checks(longer)}
    assert found["performance.answer-length"] is None
