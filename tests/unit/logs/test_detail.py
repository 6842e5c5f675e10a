from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from golden.recorded import LOGS, unpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness_llm.logs.detail import DetailLog
from harness_llm.logs.summary import SummaryLog
from harness_llm.results.events import sound_events
from harness_llm.results.recompute import percentile, server_latencies

if TYPE_CHECKING:
    from pathlib import Path

DETAIL = "mlperf_log_detail.txt"
SUMMARY = "mlperf_log_summary.txt"


def read(name: str, tmp_path: Path) -> tuple[DetailLog, SummaryLog]:
    folder = unpack(name, tmp_path)
    return DetailLog.read(folder / DETAIL), SummaryLog.read(folder / SUMMARY)


@pytest.mark.parametrize("name", sorted(folder.name for folder in LOGS.iterdir()))
def test_every_recorded_log_is_whole_and_agrees_with_its_summary(name: str, tmp_path: Path) -> None:
    detail, summary = read(name, tmp_path)
    assert detail.problems == () and summary.problems == ()
    assert detail.changed == () and detail.processes == 1
    assert detail.is_valid == summary.is_valid
    assert (detail.error_lines, summary.errors) in ((0, 0), (640, 640))
    if detail.value("effective_test_mode") == "PerformanceOnly":
        assert summary.tokens_per_second == pytest.approx(detail.tokens_per_second, rel=1e-4)
    first = summary.latencies_ns.get("first_token", {})
    assert first.get("99.00") == detail.ttft_p99_ns
    assert summary.latencies_ns.get("output_token", {}).get("99.00") == detail.tpot_p99_ns


def test_an_invalid_run_says_why(tmp_path: Path) -> None:
    detail, summary = read("toy-server-early-stopping", tmp_path)
    assert detail.is_valid is False and summary.validity == "INVALID"
    assert summary.constraints == {
        "performance": True,
        "min_duration": True,
        "min_queries": True,
        "early_stopping": False,
    }
    assert summary.reasons == (
        "TPOT: Run unsuccessful. Processed 448 queries. Would need to run at least 11 more queries, with the "
        "run being successful if every additional query were under latency.",
    )
    assert detail.integer("result_query_count") == 448


def test_what_loadgen_says_of_ttft_and_of_tpot_stays_apart(tmp_path: Path) -> None:
    path = tmp_path / SUMMARY
    path.write_text(
        "Result is : INVALID\n  Min duration satisfied : NO\n"
        "Recommendations:\n * TTFT constrain not met: Reduce target QPS.\n * The test exited early,\n"
        " before enough queries were issued.\n   See the detailed log\n"
        "TTFT Early Stopping Result:\n * Run unsuccessful.\n"
        " * Processed 9 queries.\nTPOT Early Stopping Result:\n * Run successful.\n\nNo errors encountered\n"
    )
    assert SummaryLog.read(path).reasons == (
        "TTFT constrain not met: Reduce target QPS.",
        "The test exited early, before enough queries were issued.",
        "TTFT: Run unsuccessful. Processed 9 queries.",
    )


def test_errors_are_counted_all_and_kept_some(tmp_path: Path) -> None:
    detail, _ = read("toy-server-errors", tmp_path)
    assert detail.error_lines == 640 and len(detail.errors) == 50
    assert detail.errors[0].text == "Number of tokens need to be greater than 1"
    assert detail.is_valid is True  # LoadGen calls this run VALID; its errors are what tells


def test_settings_as_asked_and_as_used(tmp_path: Path) -> None:
    detail, summary = read("llama2-interactive", tmp_path)
    assert detail.value("requested_server_ttft_latency") == 450_000_000
    assert detail.value("effective_performance_sample_count") == 24_576
    assert summary.parameters["ttft_latency (ns)"] == "450000000"
    assert detail.integer("effective_target_latency_percentile") is None
    assert detail.number("effective_target_latency_percentile") == 0.99
    assert detail.integer("result_min_duration_met") is None  # a boolean is no number


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n\n", "holds no LoadGen line"),
        (b"\x00\xff" * 100, "not valid UTF-8"),
        (b"hello\n", "no :::MLLOG line"),
        (b":::MLLOG {\n", "no complete JSON record"),
        (b":::MLLOG []\n", "no complete JSON record"),
        (b':::MLLOG {"key": 1}\n', "no complete JSON record"),
        (b":::MLLOG " + b"[" * 100_000 + b"\n", "no complete JSON record"),
        (b':::MLLOG {"key": "a", "value": 1, "metadata": {"is_error": false, "is_warning": false}}\n', "cut"),
    ],
)
def test_damaged_logs_are_reported_not_raised(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / DETAIL
    path.write_bytes(content)
    assert any(problem in str(found) for found in DetailLog.read(path).problems)
    assert SummaryLog.read(path).problems


def test_missing_folders_and_links(tmp_path: Path) -> None:
    assert "missing" in str(DetailLog.read(tmp_path / "none").problems[0])
    assert "not a regular file" in str(DetailLog.read(tmp_path).problems[0])
    (tmp_path / "link").symlink_to(tmp_path / "link")
    assert "symbolic link" in str(DetailLog.read(tmp_path / "link").problems[0])


@pytest.fixture(scope="module")
def whole_log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (unpack("toy-server-valid", tmp_path_factory.mktemp("log")) / DETAIL).read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999))
def test_any_cut_is_noticed(whole_log: bytes, tmp_path: Path, share: float) -> None:
    path = tmp_path / DETAIL
    path.write_bytes(whole_log[: int(len(whole_log) * share)])
    assert DetailLog.read(path).problems


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_values_come_back_as_they_were_written(tmp_path: Path, value: object) -> None:
    metadata = {"is_error": False, "is_warning": False}
    record = {"key": "some_key", "value": value, "metadata": metadata}
    path = tmp_path / DETAIL
    path.write_text(f":::MLLOG {json.dumps(record)}\n")
    assert DetailLog.read(path).value("some_key") == value


@pytest.mark.parametrize("name", ["toy-server-valid", "toy-server-one-over", "toy-server-early-stopping"])
def test_our_latencies_from_events_are_loadgens(name: str, tmp_path: Path) -> None:
    detail, summary = read(name, tmp_path)
    events, problem = sound_events(tmp_path / "events.npy")
    assert problem is None and events is not None
    ours = server_latencies(events, detail.value("effective_schedule_rng_seed"), 400.0)
    for family, values in (
        ("first_token", ours.ttft_ns),
        ("output_token", ours.tpot_ns),
        ("latency", ours.latency_ns),
    ):
        logged = summary.latencies_ns[family]
        for share in (0.5, 0.9, 0.99):
            assert abs(percentile(values, share) - logged[f"{share * 100:.2f}"]) < 2_000_000, family
    ttft, tpot = ours.against(100_000_000, 20_000_000)
    assert (ttft.is_met and tpot.is_met) == detail.value("early_stopping_met")
    assert ttft.over == (2 if name == "toy-server-one-over" else 0)


def test_event_files_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.npy"
    assert "missing" in str(sound_events(path)[1])
    path.write_bytes(b"\x93NUMPY\x01\x00junk")
    assert "not an events file" in str(sound_events(path)[1])


@pytest.mark.parametrize(("committed", "is_whole"), [("2025-02-18T10:00:00", True), ("2025-05-01", False)])
def test_a_log_from_before_errors_were_counted(tmp_path: Path, committed: str, is_whole: bool) -> None:
    path = unpack("llama2-offline", tmp_path) / DETAIL
    rows = [json.loads(line[len(":::MLLOG ") :]) for line in path.read_text().splitlines()]
    for row in rows:
        if row["key"] == "loadgen_git_commit_date":
            row["value"] = committed
    kept = [row for row in rows if row["key"] != "num_errors"]
    path.write_text("".join(f":::MLLOG {json.dumps(row)}\n" for row in kept))
    assert (DetailLog.read(path).problems == ()) is is_whole
