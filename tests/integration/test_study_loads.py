"""Loads that are measured together through the start gate, on simulated engines."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness_llm.core import EventStatus, GenerationLimits, Mode, Scenario
from harness_llm.datasets.synthetic import load_synthetic
from harness_llm.driver.issuers import Schedule
from harness_llm.errors import RunBroken
from harness_llm.fleet.fleet import Fleet, FleetPlan, ReplicaPlan
from harness_llm.fleet.loads import Load, measure_loads
from harness_llm.fleet.watch import Watch
from harness_llm.results.events import read_events
from harness_llm.transport.spec import DriverTest, LoadgenTest
from harness_llm.views.live import NoView

CONF = "mine.Offline.target_qps = 100\nmine.*.min_duration = 300\nmine.*.min_query_count = 30\n"


class Bench:
    """Fleets of one simulated replica each, and the tests that are asked of them."""

    def __init__(self, folder: Path, watch: Watch, held: ExitStack, count: int) -> None:
        self.folder, self.watch = folder, watch
        limits = GenerationLimits(2, 8)
        load_synthetic("40:8:8", limits, seed=0, vocab_size=1000).save(folder / "samples.npz")
        self.fleets = [
            held.enter_context(watch.fleet(self._plan(n), folder / f"fleet{n}")) for n in range(count)
        ]

    @staticmethod
    def _plan(number: int) -> FleetPlan:
        latency = {"first_token_ms": 4, "per_token_ms": 1}
        return FleetPlan(f"fleet{number}", (ReplicaPlan("simulated", latency, {}),), 60)

    def load(self, number: int, rule: str, rows: int, gap_ms: float = 0, **more: object) -> Load:
        path = self.folder / f"{number}.npy"
        at_ns = (np.arange(rows) * gap_ms * 1e6).astype(np.int64)
        Schedule(at_ns, np.arange(rows) % 40).save(path)
        samples = str(self.folder / "samples.npz")
        test = DriverTest(f"load{number}", samples, str(path), rule, **more)  # type: ignore[arg-type]
        return Load(test.name, self.folder / test.name, test, self.fleets[number])


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Bench:  # type: ignore[misc]
    with Watch(NoView()) as watch, ExitStack() as held:
        yield Bench(tmp_path, watch, held, request.param)


def _children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(os.getpid()).children()
        if child.status() != psutil.STATUS_ZOMBIE and "harness_llm.driver.process" in child.cmdline()
    ]


@pytest.mark.parametrize("bench", [2], indirect=True)
def test_loads_begin_together_go_on_until_all_are_measured_and_a_loadgen_test_among_them(
    bench: Bench,
) -> None:
    long = bench.load(0, "timed", 150, gap_ms=8)
    short = bench.load(1, "groups", 40, width=10, warm_up=5)
    first, second = measure_loads(bench.watch, [long, short])
    assert first.report["measured"] == 150 and second.report["measured"] == 35
    assert abs(first.report["begin_ns"] - second.report["begin_ns"]) < 1e9
    assert second.report["tail"] > 35  # the short one did not leave the long one alone
    events = read_events(second.folder / "events.npy")
    assert (events["status"] == EventStatus.FINISHED).all()
    assert len(events) == 5 + 35 + second.report["tail"]
    last_of_short = events["finished_ns"].max()
    own = read_events(first.folder / "events.npy")[:150]
    assert (own["issued_ns"] <= last_of_short).mean() >= 0.95
    assert np.diff(own["issued_ns"]).mean() == pytest.approx(8e6, rel=0.2)

    test = LoadgenTest(
        "Offline", Scenario.OFFLINE, Mode.PERFORMANCE, "mine", CONF, 100, str(bench.folder / "samples.npz")
    )
    loads = [
        Load("loadgen", bench.folder / "loadgen", test, bench.fleets[0]),
        bench.load(1, "slots", 50, width=4),
    ]
    loadgen, driver = measure_loads(bench.watch, loads)
    assert loadgen.report["samples"] >= 30 and driver.report["measured"] == 50
    assert (loadgen.folder / "mlperf_log_detail.txt").exists()


@pytest.mark.parametrize("bench", [1], indirect=True)
def test_a_load_by_time_asks_its_rows_again_until_the_time_is_over(bench: Bench) -> None:
    (result,) = measure_loads(bench.watch, [bench.load(0, "slots", 5, width=4, limit_ns=10**9 // 2)])
    assert result.report["measured"] > 50
    events = read_events(result.folder / "events.npy")[: result.report["measured"]]
    assert (events["sample"] == np.arange(len(events)) % 5).all()
    assert result.report["start_ns"] <= events["issued_ns"][-1] <= result.report["start_ns"] + 6e8


@pytest.mark.parametrize("bench", [2], indirect=True)
@pytest.mark.parametrize("stage", ["begun", pytest.param("measuring", marks=pytest.mark.long)])
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long)])
def test_a_driver_that_is_lost_ends_all_and_is_named(bench: Bench, stage: str, number: int) -> None:
    loads = [bench.load(0, "timed", 5000, gap_ms=10, silence_timeout_s=3.0), bench.load(1, "slots", 5000)]
    hit_s, hit = 0.0, ""

    class Hitting(NoView):
        def tick(self, record: object) -> None:
            nonlocal hit_s, hit
            drivers = _children()
            is_time = stage == "begun" or (bench.folder / "load0" / "events.npy").exists()
            if drivers and is_time and not hit_s and record.stage != "between tests":  # type: ignore[attr-defined]
                hit_s, hit = time.monotonic(), Path(drivers[0].cmdline()[-1]).parent.name
                os.kill(drivers[0].pid, number)

    bench.watch.view = Hitting()
    with pytest.raises(RunBroken) as caught:
        measure_loads(bench.watch, loads)
    assert hit and f"driver-{hit}" in str(caught.value)
    assert time.monotonic() - hit_s < (12 if number == signal.SIGKILL else 20)  # the other has 5 s to end
    assert _children() == []


@pytest.mark.parametrize("bench", [1], indirect=True)
def test_a_load_that_is_not_ready_in_time_is_named(bench: Bench) -> None:
    with pytest.raises(RunBroken, match="not ready to begin in time: load0"):
        measure_loads(bench.watch, [bench.load(0, "slots", 10)], arm_timeout_s=0.0)
    assert isinstance(bench.fleets[0], Fleet) and _children() == []
