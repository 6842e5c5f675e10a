"""What `tune` stands on: how long a simulated run takes, and how fast a run is given up for the next.

    python benchmarks/tune_seams.py size        # 270,336 queries on 8 and on 64 replicas, simulated
    python benchmarks/tune_seams.py giving-up   # 20 runs of LoadGen, given up under load, on one loaded fleet

docs/benchmarks.md says how to read the figures.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "code"))

from harness_llm.core import EventStatus, GenerationLimits, Mode, Scenario
from harness_llm.datasets.synthetic import load_synthetic
from harness_llm.fleet.fleet import Fleet, FleetPlan, ReplicaPlan
from harness_llm.fleet.watch import Watch
from harness_llm.results.events import read_events
from harness_llm.results.paths import EVENTS_NPY
from harness_llm.transport.spec import LoadgenTest
from harness_llm.tune.batching import Noise, StepLimits, simulate
from harness_llm.tune.batching_loop import TERMS
from harness_llm.views.live import PlainView
from harness_llm.views.progress import TestProgress

_QUERIES, _SAMPLES = 270_336, 24_576
_BATCHING = {"step_tokens": 512, "weights_ms": 20, "token_ms": 0.3, "host_ms": 2}
_CONF = """\
mine.*.use_token_latencies = 1
mine.Server.ttft_latency = 2000
mine.Server.tpot_latency = 200
mine.Server.target_qps = {qps}
mine.Server.min_duration = 600000
mine.Server.min_query_count = 100
"""


def size() -> None:
    """Seconds and memory of one simulated run of llama2-70b's lengths; the first one compiles."""
    random = np.random.RandomState(1)
    costs = np.zeros(TERMS)
    costs[0], costs[2], costs[4] = 0.02, 1e-4, 5e-8
    for replicas in (1, 8, 64):
        count = _QUERIES if replicas > 1 else 1000
        due = np.cumsum(random.exponential(1 / (13.0 * replicas), count))
        prompt, tokens = random.randint(50, 500, count), random.randint(100, 490, count)
        began, limits = time.monotonic(), StepLimits(1024, 2048)
        simulate(due, prompt, tokens, costs, np.ones(replicas), limits, Noise(0.02), 0.0, 1)
        took, peak = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{count:,} queries, {replicas} replicas: {took:.2f} s, {peak:.2f} GiB at most")  # noqa: T201


def giving_up(times: int, qps: float) -> None:
    """Seconds from the wish to give a run up until the next one's first query."""
    waits = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "samples.npz"
        load_synthetic("128:20-200:10-60", GenerationLimits(2, 64), seed=0, vocab_size=1000).save(table)
        plan = FleetPlan(
            "given up", (ReplicaPlan("simulated", {"concurrent": 64, "batching": _BATCHING}, {}),), 60
        )
        with Watch(PlainView("")) as watch, watch.fleet(plan, folder / "replicas") as fleet:
            replica = fleet.replicas[0].handle.process_id
            ended = 0.0
            for number in range(times + 1):
                test = _test(table, qps)
                began = _measured(fleet, test, folder / str(number))
                if number:
                    waits.append(began[0] - ended)
                ended = began[1]
                assert fleet.replicas[0].handle.process_id == replica, "the engine was loaded again"
        left = [each for each in psutil.Process().children(recursive=True) if each.is_running()]
    low, middle, high = np.quantile(waits, (0, 0.5, 1))
    print(  # noqa: T201
        f"{times} runs given up under load: the next one's first query after {middle:.2f} s, from {low:.2f} "
        f"to {high:.2f} s; one load; processes left: {len(left)}"
    )


def _test(table: Path, qps: float) -> LoadgenTest:
    return LoadgenTest(
        name="Server/performance", scenario=Scenario.SERVER, mode=Mode.PERFORMANCE, loadgen_model="mine",
        user_conf=_CONF.format(qps=qps), target_qps=qps, samples=str(table),
    )  # fmt: skip


def _measured(fleet: Fleet, test: LoadgenTest, folder: Path) -> tuple[float, float]:
    """When the first query of a run was issued, and when its end was asked for, s."""
    wished = 0.0

    def enough(progress: TestProgress) -> str:
        nonlocal wished
        if progress.done < 40:
            return ""
        wished = time.monotonic()
        return "given up"

    result = fleet.measure(test, folder, enough)
    assert result.state == "abandoned", result
    events = read_events(folder / EVENTS_NPY)
    done = events["status"] == EventStatus.FINISHED
    assert done.sum() >= 40 and (~done).sum() > 0, "it was not under load"
    late = events["finished_ns"][done].max() / 1e9 - wished
    assert late < 1, f"answers until {late:.1f} s after the run was given up"
    return float(events["issued_ns"].min()) / 1e9, wished


def main() -> None:
    """Measure what is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("how", choices=("size", "giving-up"))
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--qps", type=float, default=20.0)
    given = parser.parse_args()
    if given.how == "size":
        size()
    else:
        giving_up(given.times, given.qps)


if __name__ == "__main__":
    main()
