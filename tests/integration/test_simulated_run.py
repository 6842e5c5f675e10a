"""A whole run: real LoadGen, real processes, two simulated replicas; what it left is read back."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from runs import Run

from harness_llm.core import EventStatus
from harness_llm.datasets.table import SampleTable
from harness_llm.engines.simulated import simulated_answer
from harness_llm.logs.detail import DetailLog
from harness_llm.results.recompute import percentile, server_latencies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLES = 120
TESTS = [f"{scenario}/{test}" for scenario in ("Offline", "Server") for test in ("performance", "accuracy")]
LATENCY = {"first_token_ms": 20, "per_token_ms": 1, "concurrent": 32}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("run")
    prompts = folder / "prompts.jsonl"
    # Ranges, not one forced length: the answer's length is the engine's choice, 2 to 40 tokens.
    prompts.write_text(
        "".join(json.dumps({"token_ids": [n + 5, 3 * n + 7], "min_tokens": 2}) + "\n" for n in range(SAMPLES))
    )
    run = Run(
        folder,
        harness={
            "dataset": "jsonl", "dataset_path": str(prompts), "max_tokens": 40,
            "replicas": 2, "engine": {"kind": "simulated", **LATENCY}, "tests": ["performance", "accuracy"],
        },
    )  # fmt: skip
    code, errors = run.complete()
    assert code == 0, errors + run.out
    yield run
    run.end()


@pytest.fixture(scope="module")
def table(run: Run) -> SampleTable:
    return SampleTable.load(run.output / "samples.npz")


def _log(run: Run, test: str) -> DetailLog:
    log = DetailLog.read(run.output / test / "mlperf_log_detail.txt")
    assert log.values
    assert not log.problems
    assert not log.error_lines, log.errors
    return log


def _accuracy_log(run: Run, scenario: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(
        (run.output / scenario / "accuracy/mlperf_log_accuracy.json").read_text()
    )
    return entries


def test_the_run_ends_good_says_simulated_and_leaves_no_process(run: Run) -> None:
    run.assert_nothing_is_left()
    record = run.json("run.json")
    assert (record["state"], record["simulated"], record["official"]) == ("complete", True, False)
    assert record["tests"] == TESTS
    assert record["marker"] in run.out
    for test in TESTS:
        assert run.json(f"{test}/test.json")["state"] == "complete"


@pytest.mark.parametrize("scenario", ["Offline", "Server"])
def test_loadgen_got_exactly_the_engines_tokens(run: Run, table: SampleTable, scenario: str) -> None:
    entries = _accuracy_log(run, scenario)
    assert Counter(entry["qsl_idx"] for entry in entries) == Counter(range(SAMPLES))
    lengths = set()
    for entry in entries:
        answer = simulated_answer(table.prompt(entry["qsl_idx"]).tobytes(), 2, 40)
        assert entry["data"] == answer.hex().upper()
        assert entry["token_count"] == len(answer) // 4
        assert entry.get("token_data", "") == (answer[:4].hex().upper() if scenario == "Server" else "")
        lengths.add(len(answer) // 4)
    assert len(lengths) > 20, "answers of one length would prove little"


@pytest.mark.parametrize("test", TESTS)
def test_events_tell_of_every_query_once(run: Run, table: SampleTable, test: str) -> None:
    events = run.events(test)
    assert len(events) == run.json(f"{test}/test.json")["samples"] >= SAMPLES
    assert (events["status"] == EventStatus.FINISHED).all()
    assert (events["finished_ns"] > events["issued_ns"]).all()
    assert (np.diff(events["issued_ns"]) >= 0).all()
    wanted = [
        len(simulated_answer(table.prompt(sample).tobytes(), 2, 40)) // 4 for sample in events["sample"]
    ]
    assert events["tokens"].tolist() == wanted
    assert (events["prompt_tokens"] == 2).all()
    if test.startswith("Server"):
        assert (events["first_token_ns"] > events["issued_ns"]).all()
        assert (events["first_token_ns"] <= events["finished_ns"]).all()
    else:
        assert not events["first_token_ns"].any()


@pytest.mark.parametrize("test", TESTS)
def test_both_replicas_take_their_share(run: Run, test: str) -> None:
    shares = np.bincount(run.events(test)["replica"], minlength=2) / len(run.events(test))
    assert len(shares) == 2
    assert shares.min() > 0.25


def test_loadgen_asked_as_often_as_it_says_and_evenly(run: Run) -> None:
    """Offline goes through the samples in turn; Server in whole copies of the data set, as user.conf asks."""
    offline, server = run.events("Offline/performance"), run.events("Server/performance")
    assert _log(run, "Offline/performance").integer("effective_samples_per_query") == len(offline) == 440
    assert _log(run, "Server/performance").integer("generated_query_count") == len(server) == 5 * SAMPLES
    assert set(np.bincount(offline["sample"], minlength=SAMPLES)) == {3, 4}
    assert set(np.bincount(server["sample"], minlength=SAMPLES)) == {5}


def test_offline_tokens_a_second_are_loadgens(run: Run) -> None:
    """LoadGen counts from its own start, a little before our first event, to the last completion."""
    events, log = run.events("Offline/performance"), _log(run, "Offline/performance")
    seconds = (events["finished_ns"].max() - events["issued_ns"].min()) / 1e9
    ours = events["tokens"].sum() / seconds
    assert log.tokens_per_second == pytest.approx(ours, rel=0.03)
    assert log.tokens_per_second <= ours


def test_server_latencies_are_loadgens_from_the_scheduled_time(run: Run) -> None:
    """Within 5 ms at p99: between our clock reading and LoadGen's a busy machine may run something else."""
    events, log = run.events("Server/performance"), _log(run, "Server/performance")
    seed, qps = log.integer("effective_schedule_rng_seed"), log.number("effective_target_qps")
    assert seed is not None
    assert qps == 300
    ours = server_latencies(events, seed, qps)
    assert log.ttft_p99_ns is not None
    assert percentile(ours.ttft_ns, 0.99) == pytest.approx(log.ttft_p99_ns, abs=5_000_000)
    assert log.tpot_p99_ns == pytest.approx(percentile(ours.tpot_ns, 0.99), abs=1_500_000)
    median = log.integer("result_first_token_50.00_percentile_latency_ns")
    assert median == pytest.approx(percentile(ours.ttft_ns, 0.5), abs=3_000_000)
    assert percentile(ours.ttft_ns, 0.5) >= 20_000_000, "no first token can come before the engine's latency"
    assert percentile(ours.tpot_ns, 0.5) == pytest.approx(1_000_000, rel=0.6)


def test_loadgens_server_verdict_is_valid_on_an_easy_load(run: Run) -> None:
    assert _log(run, "Server/performance").is_valid is True


def test_the_folder_explains_itself(run: Run, table: SampleTable) -> None:
    record = run.json("run.json")
    assert record["dataset"]["digest"] == table.digest
    assert record["command"][-1] == str(run.output)
    for index in (0, 1):
        facts = run.json(f"replicas/Offline-Server/{index}/facts.json")
        assert facts["is_simulated"] is True
        assert facts["resolved"]["first_token_ms"] == 20
    for test in TESTS:
        assert (run.output / test / "user.conf").read_text() == run.user_conf
        asked = run.json(f"{test}/test.json")["requested_settings"]
        assert asked["server_target_qps" if test.startswith("Server") else "offline_expected_qps"] in (
            300,
            4000,
        )
    assert (run.output / "config/Server.yaml").exists()


def test_a_second_run_in_the_folder_is_refused_and_harms_nothing(run: Run) -> None:
    def picture() -> dict[str, tuple[int, int]]:
        paths: list[Path] = [
            path for path in run.output.rglob("*") if path.is_file() and path.name != ".lock"
        ]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}

    before = picture()
    for arguments in ((), ("--resume",)):
        again = Run(run.folder, run.user_conf, run.harness)
        code, errors = again.complete(*arguments)
        again.end()
        assert code == 2, errors
        assert "holds a finished run" in errors
        assert "--output" in errors
    assert picture() == before
