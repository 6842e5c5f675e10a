from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from golden.recorded import unpack
from golden.run_folder import build_run, edit, events, failed, write_test

from harness_llm.check import check_run, own_events, replay
from harness_llm.check.render import render
from harness_llm.compliance import AUDIT_TESTS
from harness_llm.core import Scenario
from harness_llm.engines.openai import OpenAI
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.paths import FACTS_JSON, TEST_JSON, replica_folder


def test_a_good_unofficial_run_passes_and_is_called_unofficial(good_run: Path) -> None:
    report = check_run(good_run)
    assert report.failures == () and report.passed
    assert report.label == "unofficial" and report.kind == "run" and not report.simulated
    names = {check.name for check in report.checks if check.passed}
    assert {"events.ttft", "latency.schedule", "accuracy.rouge1", "dataset.digest", "test.settings"} <= names
    assert json.loads(json.dumps(report.to_json()))["counts"]["failed"] == 0
    assert report.results == {"Offline": "pass", "Server": "pass"}
    lines = render(report, every=True).splitlines()
    assert lines[:3] == ["2 of 2 results pass by their own checks", "  pass  Offline", "  pass  Server"]
    passed = sum(check.verdict == "pass" for check in report.checks)
    assert sum(line.startswith("  pass  ") for line in lines) == passed + len(report.results)
    assert "  pass  test.state: complete" in lines


def test_an_engine_whose_caching_nobody_knows_is_said(run: Path) -> None:
    assert "run.engine" not in {check.name for check in check_run(run).checks}
    folder = replica_folder(run, "Server", 0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS_JSON).write_text(json.dumps({"name": "openai", "version": "server"}))
    found = [check for check in check_run(run).checks if check.name == "run.engine"]
    assert [(check.passed, check.found, check.path) for check in found] == [
        (None, OpenAI.marker, "Server/performance")
    ]


def test_an_invalid_run_fails_with_counts(tmp_path: Path) -> None:
    report = check_run(build_run(tmp_path / "run", {"Server/performance": "toy-server-one-over"}))
    found = {check.name: check for check in report.failures}
    assert {
        "performance.validity",
        "performance.constraints",
        "latency.early-stopping-ttft",
        "events.ttft",
    } <= (found.keys())
    assert found["latency.early-stopping-ttft"].found == "2 of 640 samples over 100 ms"
    assert found["latency.early-stopping-ttft"].required == "at most 0 of 640"
    assert "2 over 100 ms" in found["events.ttft"].found


def test_the_text_of_a_report_names_rule_and_remedy(tmp_path: Path) -> None:
    report = check_run(build_run(tmp_path / "run", {"Server/performance": "toy-server-one-over"}))
    text = render(report, only_failures=True)
    assert "Server/performance/mlperf_log_detail.txt\n  FAIL  performance.validity\n" in text
    assert "        do        Lower target_qps" in text
    assert "        rule      mlcommons/inference @b66003e1 loadgen/early_stopping.cc lines 58-84" in text
    assert "  pass  " not in text and "  pass  performance.seeds: " in render(report, every=True)
    assert text.splitlines()[-1].startswith("FAILED by the rules of v6.1 (unofficial): ")


def test_too_few_queries_for_any_verdict(tmp_path: Path) -> None:
    report = check_run(build_run(tmp_path / "run", {"Server/performance": "toy-server-early-stopping"}))
    found = {check.name: check for check in report.failures}
    asked = found["latency.early-stopping-tpot"]
    count = int(asked.found.split(" of ")[1].split()[0])
    assert asked.required == f"at least 459 queries: {count} are too few to judge by"
    assert asked.remedy.startswith("Run longer")
    assert found["events.tpot"].required.endswith(asked.required)
    assert found["events.tpot"].remedy == asked.remedy
    assert "at most -1" not in render(report)


def test_errors_fail_although_loadgen_says_valid(tmp_path: Path) -> None:
    report = check_run(build_run(tmp_path / "run", {"Server/performance": "toy-server-errors"}))
    found = {check.name: check for check in report.failures}
    assert "640 error lines" in found["performance.errors"].found
    assert "performance.validity" not in found
    assert {"performance.metric", "latency.tpot"} <= found.keys()


def test_a_short_offline_run(tmp_path: Path) -> None:
    found = failed(build_run(tmp_path / "run", {"Offline/performance": "toy-offline-short"}))
    assert "performance.duration" in found and "performance.validity" in found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": "broken", "reason": "a replica died"}, "run.state"),
        ({"tests": []}, "run.tests"),
        ({"tests": ["Offline/performance", "Interactive/performance"]}, "run.tests"),
        ({"tests": 7}, "run.tests"),
        ({"official": True}, "run.official"),
        ({"dataset": {"samples": 64, "digest": "0"}}, "dataset.digest"),
        ({"dataset": None}, "dataset.digest"),
        ({"benchmark": "llama2-70b-99.9", "official": True}, "performance.min-duration"),
        ({"benchmark": "tox"}, "conf.target-qps"),
    ],
)
def test_a_changed_record_is_noticed(run: Path, changes: dict[str, object], expected: str) -> None:
    edit(run / "run.json", **changes)
    assert expected in failed(run)


def test_simulated_runs_are_marked(run: Path) -> None:
    edit(run / "run.json", simulated=True)
    assert check_run(run).simulated


@pytest.mark.parametrize(
    ("file", "changes", "expected"),
    [
        ("Server/performance/test.json", {"state": "running"}, "test.state"),
        ("Server/performance/test.json", {"requested_settings": {"min_query_count": 1}}, "test.settings"),
        ("Server/accuracy/accuracy.json", {"scores": {"rouge1": 39.99}}, "accuracy.rouge1"),
        ("Server/accuracy/accuracy.json", {"scores": {}}, "accuracy.rouge1"),
        ("Server/accuracy/accuracy.json", {"tokens_per_sample": 25.0}, "accuracy.record-agrees"),
        ("Server/accuracy/accuracy.json", {"samples": 63}, "accuracy.record-agrees"),
    ],
)
def test_a_changed_test_record_is_noticed(
    run: Path, file: str, changes: dict[str, object], expected: str
) -> None:
    edit(run / file, **changes)
    assert expected in failed(run)


@pytest.mark.parametrize(("hours", "is_seen"), [(0, False), (24 * 30, True)])
def test_a_log_of_another_time_than_the_record(run: Path, hours: int, is_seen: bool) -> None:
    began = datetime.fromisoformat(
        str(DetailLog.read(run / "Server/performance" / DETAIL_LOG).value("test_datetime"))
    )
    first, last = (f"{began + timedelta(hours=hours, seconds=by):%Y-%m-%dT%H:%M:%SZ}" for by in (-5, 600))
    edit(run / "Server/performance" / TEST_JSON, started_utc=first, finished_utc=last)
    assert ("test.dates" in failed(run)) is is_seen
    assert "test.dates" in {check.name for check in check_run(run).checks}


def test_one_unanswered_sample(run: Path) -> None:
    place = run / "Server" / "performance"
    rows = events(place)
    rows["status"][17] = 1
    np.save(place / "events.npy", rows)
    assert failed(run)["events.complete"] == "640 samples issued, 639 answered"


def test_one_lost_sample(run: Path) -> None:
    place = run / "Offline" / "performance"
    np.save(place / "events.npy", events(place)[:-1])
    assert "events.complete" in failed(run)


def test_late_first_tokens_in_events_that_the_log_does_not_show(run: Path) -> None:
    place = run / "Server" / "performance"
    rows = events(place)
    rows["first_token_ns"][:10] += 200_000_000
    np.save(place / "events.npy", rows)
    assert "10 over 100 ms" in failed(run)["events.ttft"]


def test_a_user_conf_of_another_run(run: Path) -> None:
    path = run / "Server" / "performance" / "user.conf"
    path.write_text(path.read_text().replace("ttft_latency = 100", "ttft_latency = 300"))
    found = failed(run)
    assert "requested_server_ttft_latency" in found["performance.user-conf"]
    assert "latency.limits" in found


def test_answers_of_another_run(run: Path, tmp_path: Path) -> None:
    other = unpack("toy-server-audit", tmp_path / "other") / "mlperf_log_accuracy.json"
    shutil.copy(other, run / "Server" / "accuracy" / other.name)
    assert "accuracy.answered-samples" in failed(run)


def test_a_compliance_run_beside_the_others(run: Path) -> None:
    write_test(unpack("toy-server-audit", run / "Server" / "TEST06"), "Server")
    edit(run / "run.json", tests=["Server/performance", "Server/TEST06"])
    assert {name for name in failed(run) if name.startswith("compliance")} == {
        "compliance.TEST06-first-token",
        "compliance.TEST06-eos",
        "compliance.TEST06-length",
    }
    (run / "Server" / "TEST06" / "verify_accuracy.txt").write_text(
        "First token check pass: True\nEOS check pass: True\nSample length check pass: True\n"
    )
    assert failed(run) == {}


@pytest.mark.parametrize(
    ("benchmark", "ends", "is_seen"),
    [
        ("llama3.1-8b", (128009, 128009), True), ("llama3.1-8b", (128009, 128001), True),
        ("llama3.1-8b", (5, 128009), False), ("llama3.1-8b", (2, 2), False),
        ("llama2-70b-99.9", (2, 2), True), ("llama2-70b-99.9", (128009, 128009), False),
        ("deepseek-r1", (1, 1), True), ("toy", (2, 2), False),
    ],
)  # fmt: skip
def test_answers_that_end_twice_are_seen_by_the_end_tokens_of_the_benchmarks_model(
    run: Path, benchmark: str, ends: tuple[int, int], is_seen: bool
) -> None:
    log = unpack("toy-server-audit", run / "Server" / "TEST06") / "mlperf_log_accuracy.json"
    (log.parent / "test.json").write_text('{"state": "complete"}')
    edit(run / "run.json", tests=["Server/performance", "Server/TEST06"], benchmark=benchmark)
    entries = json.loads(log.read_text())
    entries[0]["data"] = entries[0]["data"][:-16] + np.array(ends, "<i4").tobytes().hex().upper()
    log.write_text("[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n")
    found = failed(run).get("compliance.TEST06-answers", "")
    assert ("ends with end of sequence twice" in found) is is_seen


def test_loadgens_own_count_of_errors_and_a_missing_log_of_a_compliance_run(run: Path) -> None:
    place = unpack("toy-server-audit", run / "Server" / "TEST06")
    write_test(place, "Server")
    (place / "verify_accuracy.txt").write_text(
        "First token check pass: True\nEOS check pass: True\nSample length check pass: True\n"
    )
    edit(run / "run.json", tests=["Server/performance", "Server/TEST06"])
    log = place / "mlperf_log_detail.txt"
    text = log.read_text()
    counted = '"key": "num_errors", "value": 0'
    assert counted in text
    log.write_text(text.replace(counted, counted.replace("0", "3")))
    assert failed(run) == {
        "compliance.TEST06-errors": "0 error lines, num_errors 3",
        "compliance.TEST06-summary-agrees": "errors: 0 against 3",
    }
    log.unlink()
    (missing,) = check_run(run).failures
    assert missing.name == "compliance.TEST06-log" and missing.remedy.endswith("or run TEST06 again.")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("min_query_count = 100", "min_query_count = 10", "*.*.min_query_count 10"),
        ("*.*.mode = 2\n", "", "*.*.mode missing"),
        ("*.*.mode = 2", "*.*.mode = 2\n*.*.mode = 1", "*.*.mode 2, 1"),
        ("*.*.mode = 2", "*.*.mode = 2\n*.*.max_duration = 1", "*.*.max_duration 1"),
        ("*.*.mode = 2", "*.*.mode = 2\n*.*.performance_sample_count_override = 64", None),
        ("# TEST06", "# Another comment", None),
    ],
)
def test_each_line_of_audit_config_is_the_rounds(run: Path, old: str, new: str, found: str | None) -> None:
    place = unpack("toy-server-audit", run / "Server" / "TEST06")
    write_test(place, "Server")
    edit(run / "run.json", tests=["Server/performance", "Server/TEST06"])
    text = AUDIT_TESTS["TEST06"].audit()
    assert old in text
    (place / "audit.config").write_text(text.replace(old, new))
    assert failed(run).get("compliance.TEST06-audit-file") == found


@pytest.mark.parametrize(
    ("field", "change", "found"),
    [
        ("finished_ns", lambda rows: rows["issued_ns"] - 1, "end before they are issued"),
        ("first_token_ns", lambda rows: rows["issued_ns"] - 1, "a first token before they are issued"),
        ("first_token_ns", lambda rows: rows["finished_ns"] + 1, "a first token after they end"),
        ("first_token_ns", lambda rows: 0, "have no first token"),
        ("issued_ns", lambda rows: rows["issued_ns"] - 10**12, "issued before the one above them"),
        ("sample", lambda rows: (rows["sample"] + 1) % 64, "other samples than LoadGen drew"),
        ("sample", lambda rows: 64, "other samples than LoadGen drew"),
    ],
)
def test_one_event_out_of_order_is_seen(run: Path, field: str, change: Any, found: str) -> None:
    place = run / "Server" / "performance"
    rows = events(place)
    rows[field][7] = change(rows[7])
    np.save(place / "events.npy", rows)
    assert found in failed(run)["events.order"]


@pytest.mark.parametrize(("samples", "passes"), [(1_000, False), (400_000, True)])
def test_loadgen_may_need_time_to_hand_over_very_many_samples(samples: int, passes: bool) -> None:
    rows = np.zeros(samples, EVENT_DTYPE)
    rows["issued_ns"], rows["finished_ns"], rows["tokens"] = 1, 1 + 10**10, 2
    detail = SimpleNamespace(tokens_per_second=2 * samples / 10.7)  # 0.7 s longer than the events
    case = SimpleNamespace(
        detail=detail,
        scenario=Scenario.OFFLINE,
        performance=Path(),
        check=lambda _, passed, *__, **___: passed,
    )
    assert list(own_events._event_tokens(case, rows)) == [passes]


def test_a_data_set_too_large_to_check_its_order_is_noted(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MOST_SAMPLES", 10)
    (check,) = (
        it for it in check_run(run).checks if it.name == "accuracy.loaded-samples" and "Server" in it.path
    )
    assert check.passed is None and "too many to check their order" in check.found


def test_what_is_no_run_folder(tmp_path: Path) -> None:
    assert set(failed(tmp_path)) == {"run.record"}
    assert set(failed(tmp_path / "absent")) == {"run.record"}
    (tmp_path / "run.json").write_text("[" * 100_000)
    assert set(failed(tmp_path)) == {"run.record"}
    assert {check.name for check in check_run(tmp_path, "v9.0").failures} == {"run.round"}


def test_an_empty_record_does_not_pass(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    report = check_run(tmp_path)
    assert not report.passed and report.simulated  # nobody said that it was a real engine


def test_an_unofficial_run_without_references_need_not_be_scored(run: Path) -> None:
    for name in ("accuracy.txt", "accuracy.json"):
        (run / "Offline" / "accuracy" / name).unlink()
    assert failed(run) == {}
    unscored = [check for check in check_run(run).checks if check.name == "accuracy.scored"]
    assert [(check.passed, check.path) for check in unscored] == [(None, "Offline")]
    edit(run / "run.json", benchmark="llama2-70b-99.9", official=True)
    assert "accuracy.file" in failed(run)


def test_one_of_two_score_files_is_not_enough(run: Path) -> None:
    (run / "Offline" / "accuracy" / "accuracy.txt").unlink()
    assert set(failed(run)) == {"accuracy.file"}


@pytest.mark.parametrize(("later_ns", "fits"), [(90_000_000, True), (10_000_000_000, False)])
def test_tokens_per_second_of_the_events(run: Path, later_ns: int, fits: bool) -> None:
    """A start that takes LoadGen 0.1 s longer is no other run, however short the run is."""
    place = run / "Offline" / "performance"
    rows = events(place)
    rows["issued_ns"] -= later_ns
    np.save(place / "events.npy", rows)
    assert ("events.tokens" not in failed(run)) is fits


@pytest.mark.parametrize(
    ("logged", "passed"), [('""', True), ('"NA"', None), ('" M loadgen/loadgen.cc"', False), ("null", False)]
)
def test_a_changed_loadgen(run: Path, logged: str, passed: bool | None) -> None:
    path = run / "Server" / "performance" / "mlperf_log_detail.txt"
    before = '"key": "loadgen_git_status_message", "value": ""'
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, before.replace('""', logged)))
    found = [check.passed for check in check_run(run).checks if check.name == "performance.loadgen"]
    assert found == [True, passed] or found == [passed, True]
