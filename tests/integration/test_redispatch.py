"""A replica that is lost in an accuracy test: its samples go to the others, and each is answered once."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from runs import USER_CONF

from harness_llm.core import EventStatus
from harness_llm.logs.accuracy_log import read_answers
from harness_llm.logs.detail import DetailLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from runs import Run

SAMPLES = 240
# 240 answers of 0.8 s, 16 at a time and replica: some three seconds on four of them.
ENGINE = {"kind": "simulated", "first_token_ms": 20, "per_token_ms": 4, "concurrent": 16}
HARNESS = {
    "engine": ENGINE,
    "replicas": 4,
    "dataset": {"kind": "synthetic", "shape": f"{SAMPLES}:20:200"},
    "max_tokens": 200,
    "silence_timeout_s": 2,
    "stall_timeout_s": 3,
}
REPLICA = "harness_llm.replica.process"


def _assert_each_sample_once(run: Run, test: str) -> None:
    events = run.events(test)
    assert len(events) == SAMPLES and (events["status"] == EventStatus.FINISHED).all()
    assert sorted(events["sample"]) == list(range(SAMPLES))
    answers = list(read_answers(run.output / test / "mlperf_log_accuracy.json"))
    assert len(answers) == SAMPLES


@pytest.mark.parametrize("scenario", ["Server", pytest.param("Offline", marks=pytest.mark.long)])
def test_dead_stopped_and_hung_replicas_are_survived(new_run: Callable[..., Run], scenario: str) -> None:
    conf = USER_CONF.replace("Server.target_qps = 300", "Server.target_qps = 48")
    engine = {**ENGINE, "hang_after": 20, "hang_replica": 3}
    run = new_run(
        user_conf=conf, harness={**HARNESS, "engine": engine, "scenarios": [scenario], "tests": ["accuracy"]}
    )
    test = f"{scenario}/accuracy"
    run.start()
    run.wait_until_asked(test, 20)
    victims = sorted(run.processes(REPLICA), key=lambda process: process.cmdline()[-1])
    victims[0].send_signal(signal.SIGKILL)
    victims[1].send_signal(signal.SIGSTOP)
    code, errors = run.wait(90)
    assert code == 0, errors + run.out
    _assert_each_sample_once(run, test)
    record = run.json(f"{test}/test.json")
    assert sorted(failure["replica"] for failure in record["survived"]) == [0, 1, 3]
    assert all(
        failure["redispatched"] and not failure["changed_first_tokens"] for failure in record["survived"]
    )
    losses = run.json("run.json")["losses"]
    assert [loss["kind"] for loss in losses] == ["replica"] * 3
    for reason in ("was killed by SIGKILL", "has been silent for", "has generated nothing for"):
        assert any(reason in loss["reason"] for loss in losses), losses
    assert "survived 3 failures" in run.out
    checked = subprocess.run(
        [sys.executable, "-m", "harness_llm", "check", "--json", str(run.output)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    (row,) = (row for row in json.loads(checked.stdout)["checks"] if row["name"] == "test.survived")
    assert row["verdict"] == "note" and "survived 3 failures" in row["found"]
    run.assert_nothing_is_left()


def test_a_lost_replica_is_loaded_again_for_the_next_test_and_ends_a_performance_test(
    new_run: Callable[..., Run],
) -> None:
    long = USER_CONF.replace("min_duration = 100\n", "min_duration = 60000\n").replace("4000", "100")
    run = new_run(
        user_conf=long,
        harness={**HARNESS, "replicas": 2, "scenarios": ["Offline"], "tests": ["accuracy", "performance"]},
    )
    run.start()
    run.wait_until_asked("Offline/accuracy", 20)
    run.processes(REPLICA)[0].kill()
    run.wait_until_asked("Offline/performance", 20)
    assert len(run.processes(REPLICA)) == 2
    run.processes(REPLICA)[0].kill()
    code, errors = run.wait(20)
    assert code == 3, errors
    assert "was killed by SIGKILL" in errors
    _assert_each_sample_once(run, "Offline/accuracy")
    assert len(run.json("run.json")["losses"]) == 1


def test_the_last_replica_ends_the_test(new_run: Callable[..., Run]) -> None:
    run = new_run(harness={**HARNESS, "replicas": 2, "scenarios": ["Offline"], "tests": ["accuracy"]})
    run.start()
    run.wait_until_asked("Offline/accuracy", 20)
    for process in run.processes(REPLICA):
        process.kill()
    code, errors = run.wait(20)
    assert code == 3, errors
    assert "was killed by SIGKILL" in errors
    assert run.json("Offline/accuracy/test.json")["state"] == "broken"
    run.assert_nothing_is_left()


def _soak(run: Run, samples: int, deaths: int, pause_s: float) -> list[int]:
    """Kill replicas at random while a test runs; the memory of its loadgen process meanwhile, bytes."""
    test = "Offline/performance"
    random_ = random.Random(samples)
    run.start()
    run.wait_until_asked(test, samples // 20, 120)
    (loadgen,) = run.processes("harness_llm.loadgen.process")
    victims = random_.sample(run.processes(REPLICA), deaths)
    memory = []
    for victim in victims:
        memory.append(loadgen.memory_info().rss)
        victim.kill()
        time.sleep(random_.uniform(0, 2 * pause_s))
    with contextlib.suppress(psutil.Error):
        while loadgen.is_running():
            memory.append(loadgen.memory_info().rss)
            time.sleep(0.2)
    code, errors = run.wait(120)
    assert code in (0, 1), errors
    assert run.json(f"{test}/test.json")["state"] == "complete"
    events = run.events(test)
    assert len(events) == samples and (events["status"] == EventStatus.FINISHED).all()
    log = DetailLog.read(run.output / test / "mlperf_log_detail.txt")
    assert not log.error_lines and log.integer("generated_samples_per_query") == samples
    survived = run.json(f"{test}/test.json")["survived"]
    assert len(survived) == len(run.json("run.json")["losses"]) == deaths
    assert len(np.unique(events["replica"])) > deaths
    run.assert_nothing_is_left()
    return memory


def _soak_of(new_run: Callable[..., Run], samples: int, replicas: int, engine: dict[str, object]) -> Run:
    conf = (
        "sim.Offline.target_qps = 1\nsim.Offline.min_duration = 1\n"
        f"sim.Offline.min_query_count = {samples}\nsim.*.use_token_latencies = 1\n"
    )
    harness = {
        "scenarios": ["Offline"], "engine": {"kind": "simulated", **engine}, "replicas": replicas,
        "dataset": {"kind": "synthetic", "shape": "1000:8:4"}, "max_tokens": 8,
        "on_replica_failure": "redispatch",
    }  # fmt: skip
    return new_run(user_conf=conf, harness=harness)


def test_random_deaths_lose_and_double_no_sample(new_run: Callable[..., Run]) -> None:
    run = _soak_of(new_run, 6_000, 6, {"first_token_ms": 5, "per_token_ms": 5, "concurrent": 16})
    _soak(run, 6_000, 5, 0.1)


@pytest.mark.long
def test_a_million_samples_through_sixteen_replicas_of_which_fifteen_die(new_run: Callable[..., Run]) -> None:
    run = _soak_of(new_run, 1_000_000, 16, {"concurrent": 64})
    memory = _soak(run, 1_000_000, 15, 0.5)
    growth = max(memory) - memory[0]
    record = run.json("Offline/performance/test.json")
    sys.stdout.write(
        f"loadgen {memory[0] / 2**20:.0f} to {max(memory) / 2**20:.0f} MiB; "
        f"{sum(failure['redispatched'] for failure in record['survived'])} redispatched; "
        f"{record['seconds']:.1f} s\n"
    )
    assert growth < 64 << 20
