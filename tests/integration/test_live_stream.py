"""live.jsonl of real processes holds what the run's own records hold, and telemetry, whose loss is no end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import msgspec
from runs import Run

from harness_llm.core import GenerationLimits, Mode, Scenario
from harness_llm.datasets.synthetic import load_synthetic
from harness_llm.fleet.fleet import FleetPlan, ReplicaPlan
from harness_llm.fleet.watch import Watch
from harness_llm.results.live_file import read_live
from harness_llm.telemetry.sources import DeviceReading
from harness_llm.testing import RecordingView
from harness_llm.transport.spec import LoadgenTest
from harness_llm.views.so_far import RunSoFar

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.views.progress import TestProgress

CONF = """\
mine.Server.target_qps = 50
mine.Server.min_duration = 4000
mine.Server.min_query_count = 200
mine.*.use_token_latencies = 1
mine.*.ttft_latency = 1000
mine.*.tpot_latency = 100
"""


def test_the_stream_of_a_run_tells_all_of_it_and_watch_shows_the_same(tmp_path: Path) -> None:
    engine = {"kind": "simulated", "first_token_ms": 20, "per_token_ms": 1, "concurrent": 32}
    run = Run(tmp_path, harness={"replicas": 2, "engine": engine, "early_end": False})
    try:
        code, errors = run.complete("--view", "plain")
    finally:
        run.end()
    assert code in (0, 1), errors + run.out  # a host that is busy may make it INVALID, which is none of this
    so_far = RunSoFar()
    so_far.take_all(records := read_live(run.output))
    assert len(records) > 3 and {record.version for record in records} == {1}
    assert records[-1].stage == "complete"
    for name in ("Offline/performance", "Server/performance"):
        test, recorded = so_far.tests[name], run.json(f"{name}/test.json")
        assert (test.state.done, test.state.tokens) == (recorded["samples"], recorded["tokens"])
        assert test.ttft.count == (recorded["samples"] if name.startswith("Server") else 0)
    answers = {replica.name: replica.answers for record in records for replica in record.replicas}
    assert len(answers) == 2 and min(answers.values()) > 0
    said = [line for record in records for line in record.said]
    assert any("Server/performance: LoadGen ended" in line for line in said)
    for line in said:
        assert line in run.out


def test_telemetry_is_in_the_records_and_its_loss_ends_no_test(tmp_path: Path) -> None:
    recording = tmp_path / "readings.jsonl"
    moments = [[DeviceReading(0, at / 10, "GPU", watts=500.0, counter_j=50.0 * at)] for at in range(600)]
    recording.write_bytes(b"\n".join(map(msgspec.json.encode, moments)))
    load_synthetic("50:8:8", GenerationLimits(4, 8), seed=0, vocab_size=100).save(tmp_path / "samples.npz")
    samples, name = str(tmp_path / "samples.npz"), "Server/performance"
    test = LoadgenTest(name, Scenario.SERVER, Mode.PERFORMANCE, "mine", CONF, 50.0, samples)
    view = RecordingView()
    plan = FleetPlan("engine", (ReplicaPlan("simulated", {"first_token_ms": 5}, {}),), 60)
    with Watch(view) as watch:
        watch.sample(tmp_path / "telemetry", recording)
        (sampler,) = watch.children

        def kill_once_heard(progress: TestProgress) -> str:
            if progress.done > 100 and sampler.sampled is not None:
                sampler.handle.signal(signal.SIGKILL)
            return ""

        with watch.fleet(plan, tmp_path / "replicas") as fleet:
            result = fleet.measure(test, tmp_path / "test", kill_once_heard)
        assert [loss.kind for loss in watch.children.losses] == ["telemetry"]
    assert result.state == "complete" and result.report["samples"] >= 200
    sampled = [device for record in view.records for device in record.devices]
    assert sampled and sampled[-1].watts == 500.0
    assert not view.records[-1].devices
    warned = [warning for record in view.records for warning in record.warnings if warning.kind == "loss"]
    assert len(warned) == 1 and warned[0].text.startswith("telemetry: lost")
