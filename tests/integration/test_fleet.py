"""Fleets of simulated engines under one watch, with real LoadGen: for a tuner, for tenants, for a sampler."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness_llm.core import EventStatus, GenerationLimits, Mode, Scenario
from harness_llm.datasets.synthetic import load_synthetic
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import EngineError, ReplicaLost
from harness_llm.fleet.fleet import Fleet, FleetPlan, ReplicaPlan
from harness_llm.fleet.watch import Watch
from harness_llm.launch.role import Role
from harness_llm.logs.detail import DetailLog
from harness_llm.results.events import read_events
from harness_llm.transport.spec import LoadgenTest
from harness_llm.views.live import PlainView
from harness_llm.views.progress import TestProgress

CONF = """\
mine.*.use_token_latencies = 1
mine.Server.ttft_latency = 1000
mine.Server.tpot_latency = 100
mine.Server.target_qps = 50
mine.Server.min_duration = {milliseconds}
mine.Server.min_query_count = 20
"""
SAMPLER = Role(
    "sampler", "sampler", started="at once", first_word_s=None, silence_s=None, essential=False,
    ends_by="signal",
)  # fmt: skip
HERE = {"PYTHONPATH": str(Path(__file__).parent)}


def _plan(name: str, replicas: int = 1, **latency: float) -> FleetPlan:
    return FleetPlan(name, tuple(ReplicaPlan("simulated", latency, {}) for _ in range(replicas)), 60)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    load_synthetic("40:8:8", GenerationLimits(2, 8), seed=0, vocab_size=1000).save(tmp_path / "samples.npz")
    assert len(SampleTable.load(tmp_path / "samples.npz")) == 40
    return tmp_path / "samples.npz"


def _test(samples: Path, name: str = "Server/performance", milliseconds: int = 500) -> LoadgenTest:
    return LoadgenTest(
        name=name,
        scenario=Scenario.SERVER,
        mode=Mode.PERFORMANCE,
        loadgen_model="mine",
        user_conf=CONF.format(milliseconds=milliseconds),
        target_qps=50,
        samples=str(samples),
    )


def _replica_ids(fleet: Fleet) -> list[int]:
    return [child.handle.process_id for child in fleet.replicas]


def _loadgens() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(os.getpid()).children()
        if child.status() != psutil.STATUS_ZOMBIE and "harness_llm.loadgen.process" in child.cmdline()
    ]


def test_a_search_over_rates_loads_the_engine_once_and_may_give_a_rate_up(
    tmp_path: Path, samples: Path
) -> None:
    test, reached = _test(samples), []
    seen: list[TestProgress] = []

    def hopeless(progress: TestProgress) -> str:
        seen.append(progress)
        return "enough seen" if progress.done >= 5 else ""

    with Watch(PlainView("")) as watch, watch.fleet(_plan("tuned", 2), tmp_path / "replicas") as fleet:
        replicas = _replica_ids(fleet)
        for qps in (40.0, 80.0):
            result = fleet.measure(test.with_qps(qps), tmp_path / f"{qps:g}")
            assert (result.state, result.test.target_qps) == ("complete", qps)
            reached.append(
                DetailLog.read(result.folder / "mlperf_log_detail.txt").number("requested_server_target_qps")
            )
            assert f"mine.Server.target_qps = {qps}" in (result.folder / "user.conf").read_text()

        long = _test(samples, milliseconds=300_000)
        result = fleet.measure(long.with_qps(20), tmp_path / "long", hopeless)
        assert (result.state, result.reason) == ("abandoned", "enough seen")
        assert seen and not _loadgens()
        record = json.loads((tmp_path / "long/test.json").read_text())
        assert (record["state"], record["reason"]) == ("abandoned", "enough seen")
        assert (read_events(tmp_path / "long/events.npy")["status"] == EventStatus.FINISHED).sum() >= 5

        last = fleet.measure(test.with_qps(60), tmp_path / "60")
        assert last.state == "complete" and last.report["samples"] >= 20
        assert _replica_ids(fleet) == replicas
        assert [json.loads((tmp_path / f"replicas/{n}/facts.json").read_text())["name"] for n in (0, 1)] == [
            "simulated"
        ] * 2
    assert reached == [40.0, 80.0]
    assert not [number for number in replicas if psutil.pid_exists(number)]


def test_no_engine_works_on_an_abandoned_test_once_engines_are_freed(tmp_path: Path, samples: Path) -> None:
    test = _test(samples, milliseconds=300_000)
    with (
        Watch(PlainView("")) as watch,
        watch.fleet(_plan("slow", first_token_ms=600_000), tmp_path / "replicas") as fleet,
    ):
        running = fleet.begin(test, tmp_path / "slow")
        deadline = time.monotonic() + 60
        while fleet.replicas[0].heartbeat.in_flight < 5:
            watch.turn()
            assert time.monotonic() < deadline
        assert fleet.running is running
        assert fleet.abandon("too slow").state == "abandoned"
        assert fleet.running is None and running.is_over
        fleet.free_engines()
        before = fleet.replicas[0].heartbeat
        deadline = time.monotonic() + 10
        while fleet.replicas[0].heartbeat is before:  # the next one, a second later
            watch.turn()
            assert time.monotonic() < deadline
        assert fleet.replicas[0].heartbeat.in_flight == 0


def test_two_fleets_are_loaded_together_and_measured_at_the_same_time(tmp_path: Path, samples: Path) -> None:
    test = _test(samples, milliseconds=2000)
    with (
        Watch(PlainView("")) as watch,
        watch.fleet(_plan("chat", 2, first_token_ms=5), tmp_path / "chat/replicas") as chat,
        watch.fleet(_plan("code", first_token_ms=20), tmp_path / "code/replicas") as code,
    ):
        names = [child.name for child in watch.children]
        assert names == ["chat/replica-0", "chat/replica-1", "code/replica-0"]
        assert len({*chat.endpoints, *code.endpoints}) == 3
        loads = [
            (chat, test.with_qps(40), tmp_path / "chat/test"),
            (code, test.with_qps(30), tmp_path / "code/test"),
        ]
        first, second = watch.measure(loads)
        assert [child.name for child in watch.children] == names
    assert (first.folder, second.folder) == (tmp_path / "chat/test", tmp_path / "code/test")
    spans = []
    for result, replicas, latency_ns in ((first, 2, 5e6), (second, 1, 20e6)):
        assert result.state == "complete"
        events = read_events(result.folder / "events.npy")
        assert len(events) >= 20 and (events["status"] == EventStatus.FINISHED).all()
        assert set(events["replica"].tolist()) == set(range(replicas)), "each asked its own"
        assert np.min(events["first_token_ns"] - events["issued_ns"]) >= latency_ns
        spans.append((events["issued_ns"][0], events["finished_ns"].max()))
    assert max(start for start, _ in spans) < min(end for _, end in spans), "at the same time"


def test_a_lost_replica_of_one_fleet_ends_the_tests_of_all(tmp_path: Path, samples: Path) -> None:
    test = _test(samples, milliseconds=300_000)
    killed = []

    def kill(progress: TestProgress) -> str:
        if progress.done and not killed:
            killed.append(code.replicas[0].handle.process_id)
            os.kill(killed[0], signal.SIGKILL)
        return ""

    with (
        pytest.raises(ReplicaLost, match="code/replica-0 was killed by SIGKILL"),
        Watch(PlainView("")) as watch,
        watch.fleet(_plan("chat"), tmp_path / "chat/replicas") as chat,
        watch.fleet(_plan("code"), tmp_path / "code/replicas") as code,
    ):
        watch.measure([(chat, test, tmp_path / "a"), (code, test, tmp_path / "b")], kill)
    assert killed
    for folder in ("a", "b"):
        record = json.loads((tmp_path / folder / "test.json").read_text())
        assert record["state"] == "broken" and "code/replica-0" in record["reason"]
    assert not _loadgens()


def test_a_failing_engine_breaks_one_test_and_the_next_can_run_on_the_same_replica(
    tmp_path: Path, samples: Path
) -> None:
    """What a study does with a point that cannot be measured is its own affair: the engines stay loaded."""
    with (
        Watch(PlainView("")) as watch,
        watch.fleet(_plan("a", fail_every=90), tmp_path / "replicas") as fleet,
    ):
        replicas = _replica_ids(fleet)
        fleet.measure(_test(samples), tmp_path / "first")
        with pytest.raises(EngineError, match="simulated failure"):
            while True:
                fleet.measure(_test(samples), tmp_path / "second")
        assert json.loads((tmp_path / "second/test.json").read_text())["state"] == "broken"
        assert fleet.measure(_test(samples), tmp_path / "third").state == "complete"
        assert _replica_ids(fleet) == replicas


@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies"])
def test_a_child_that_never_speaks_runs_beside_and_nobody_waits_for_it(
    tmp_path: Path, samples: Path, dies: bool
) -> None:
    times = tmp_path / "times.txt"
    times.touch()
    with Watch(PlainView("")) as watch:
        sampler = watch.child(SAMPLER, "sampler", times, tmp_path / "sampler.log", HERE)
        with watch.fleet(_plan("a"), tmp_path / "replicas") as fleet:
            if dies:
                os.kill(sampler.handle.process_id, signal.SIGKILL)
            result = fleet.measure(_test(samples), tmp_path / "test")
            assert (sampler in list(watch.children)) != dies
        losses = list(watch.children.losses)
    assert result.state == "complete"
    assert not psutil.pid_exists(sampler.handle.process_id)
    assert [(loss.name, loss.kind) for loss in losses] == [("sampler", "sampler")] * dies
    assert all("was killed by SIGKILL" in loss.reason for loss in losses)
    assert dies or len(times.read_text().splitlines()) > 5
