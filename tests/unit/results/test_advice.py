from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from golden.recorded import unpack
from golden.run_folder import write_test
from run_maker import mllog

from harness_llm.core import EventStatus
from harness_llm.logs.early_stopping import max_over_limit
from harness_llm.results.advice import advice
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.run_folder import TestFolder

if TYPE_CHECKING:
    from pathlib import Path

SERVER: dict[str, Any] = {
    "result_validity": "INVALID", "result_perf_constraints_met": False, "num_errors": 0,
    "effective_target_qps": 60.0, "effective_schedule_rng_seed": 3, "requested_use_token_latencies": True,
    "requested_server_ttft_latency": 500_000_000, "requested_server_tpot_latency": 100_000_000,
    "result_completed_samples_per_sec": 60.0, "result_query_count": 1000,
}  # fmt: skip


def _advice(folder: Path, scenario: str = "Server", state: str = "complete", **log: Any) -> tuple[str, ...]:
    folder.mkdir(exist_ok=True)
    write_test(folder, scenario, loadgen_model="my-model", state=state, target_qps=60.0)
    if log:
        (folder / "mlperf_log_detail.txt").write_text(mllog(**log))
    return advice(folder, TestFolder(folder).record())


def _events(
    folder: Path, *, ttft_ms: float = 10, tpot_ms: float = 1, late: int = 0, count: int = 1000
) -> None:
    """Answers of 101 tokens to queries at 60 a second, `late` of them with a TTFT of 9 s."""
    from harness_llm.logs.schedule import arrivals_ns

    folder.mkdir(exist_ok=True)
    rows = np.zeros(count, EVENT_DTYPE)
    rows["issued_ns"] = arrivals_ns(3, 60.0, count) + 10**9
    rows["first_token_ns"] = rows["issued_ns"] + int(ttft_ms * 1e6)
    rows["first_token_ns"][-1] = rows["issued_ns"][-1] + 10**7  # the last one found no queue
    rows["first_token_ns"][:late] += 9 * 10**9
    rows["finished_ns"] = rows["first_token_ns"] + int(100 * tpot_ms * 1e6)
    rows["tokens"], rows["status"] = 101, EventStatus.FINISHED
    np.save(folder / "events.npy", rows)


def _rate(sentences: tuple[str, ...]) -> float:
    (sentence,) = sentences
    return float(sentence.rpartition("set my-model.Server.target_qps = ")[2])


def test_a_rate_that_was_not_held_gives_one_below_what_was(tmp_path: Path) -> None:
    said = _advice(tmp_path / "t", **SERVER | {"result_completed_samples_per_sec": 31.2})
    assert said == ("held 31.2 samples/s of the 60 that came: set my-model.Server.target_qps = 29",)


def test_a_rate_that_was_held_too_late_gives_a_lower_one(tmp_path: Path) -> None:
    _events(tmp_path / "t", ttft_ms=700)
    said = _advice(tmp_path / "t", **SERVER)
    assert said[0].startswith("TTFT p99 700 of 500 ms (999 samples are over the limit, 2 may be), held 60 ")
    assert _rate(said) == 54


def test_tpot_over_its_limit_lowers_the_rate_in_proportion_but_not_without_end(tmp_path: Path) -> None:
    _events(tmp_path / "t", tpot_ms=150)
    said = _advice(tmp_path / "t", **SERVER)
    assert "TPOT p99 150 of 100 ms" in said[0] and "TTFT" not in said[0]
    assert _rate(said) == 36
    _events(tmp_path / "t", tpot_ms=5000)
    assert _rate(_advice(tmp_path / "t", **SERVER)) == pytest.approx(60 * 0.9 * 0.4, abs=1)


def test_a_few_samples_too_many_over_the_limit_take_more_samples_or_a_lower_rate(tmp_path: Path) -> None:
    _events(tmp_path / "t", late=5)
    (said,) = _advice(tmp_path / "t", **SERVER | {"result_perf_constraints_met": True})
    assert "(5 samples are over the limit, 2 may be)" in said
    least = int(said.partition("min_query_count = ")[2].split()[0])
    assert max_over_limit(least) >= 5 > max_over_limit(least - 1)
    assert said.endswith("or more, or set my-model.Server.target_qps = 54")


@pytest.mark.parametrize("name", ["toy-server-early-stopping", "toy-server-one-over"])
def test_recorded_logs_agree_with_what_loadgen_asks_for(name: str, tmp_path: Path) -> None:
    folder = unpack(name, tmp_path / "t")
    write_test(folder, "Server")
    (said,) = advice(folder, TestFolder(folder).record())
    assert f"set toy.Server.min_query_count = {448 + 11 if 'stopping' in name else 640 + 198}" in said


def test_an_offline_test_that_was_too_short_gives_the_measured_rate(tmp_path: Path) -> None:
    folder = unpack("toy-offline-short", tmp_path / "t")
    write_test(folder, "Offline")
    (said,) = advice(folder, TestFolder(folder).record())
    assert said == (
        "ran 0.2 of 2.0 s, as target_qps = 400 asks for 896 samples and 4470 samples/s were held: "
        "set toy.Offline.target_qps = 4700"
    )


@pytest.mark.parametrize(
    ("held", "asked"), [(0.004, 0.0042), (0.0666, 0.07), (5.21, 5.48), (31.2, 32.8), (12345.0, 13000.0)]
)
def test_a_rate_of_any_size_is_rounded_by_little(held: float, asked: float, tmp_path: Path) -> None:
    log = {"generated_samples_per_query": 9, "effective_target_qps": 60.0, "effective_min_duration_ms": 1000}
    (said,) = _advice(
        tmp_path / "t", "Offline", result_validity="INVALID", num_errors=0,
        result_min_duration_met=False, result_samples_per_second=held, **log,
    )  # fmt: skip
    assert said.endswith(f"set my-model.Offline.target_qps = {asked:g}")
    assert f"and {held:.3g} samples/s" in said or held > 1000
    slow = _advice(tmp_path / "s", **SERVER | {"result_completed_samples_per_sec": held / 1000})
    assert _rate(slow) == pytest.approx(0.93 * held / 1000, rel=0.01) and " 0.0 " not in slow[0]


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("Too many outstanding queries. issued 5", {"max_async_queries": 4},
         "4 ended the test after 1,000 queries: remove my-model.Server.max_async_queries"),
        ("Ending early: Max test duration reached. duration_ns 9", {"min_query_count": 6000},
         "set my-model.Server.max_duration = 120000, or remove it"),
        ("Ending early: Max query count reached.", {"min_query_count": 6000},
         "remove my-model.Server.max_query_count"),
    ],
)  # fmt: skip
def test_a_test_that_was_told_to_end_early_names_the_setting(
    tmp_path: Path, text: str, settings: dict[str, int], said: str
) -> None:
    log = SERVER | {f"effective_{key}": value for key, value in settings.items()}
    found = _advice(tmp_path / "t", **log, error_runtime=text)
    assert said in found[0]


def test_an_abandoned_test_has_no_log_of_loadgen_but_its_events_say_what_was_held(tmp_path: Path) -> None:
    _events(tmp_path / "t", count=600)
    assert _rate(_advice(tmp_path / "t", state="abandoned")) == pytest.approx(54, abs=3)


def test_an_abandoned_test_is_advised_by_what_it_held_once_its_engine_was_full(tmp_path: Path) -> None:
    _events(tmp_path / "t", ttft_ms=700, tpot_ms=40, count=600)
    events = np.load(tmp_path / "t/events.npy")
    events["finished_ns"][events["finished_ns"] > events["issued_ns"][0] + 10**10] = 0
    np.save(tmp_path / "t/events.npy", events)
    assert _rate(_advice(tmp_path / "t", state="abandoned")) == pytest.approx(54, abs=3)


def test_a_valid_test_and_a_damaged_log_have_none(tmp_path: Path) -> None:
    assert _advice(tmp_path / "t", **SERVER | {"result_validity": "VALID"}) == ()
    (tmp_path / "t" / "mlperf_log_detail.txt").write_text(":::MLLOG {")
    assert advice(tmp_path / "t", TestFolder(tmp_path / "t").record()) == ()
