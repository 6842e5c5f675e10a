"""Run folders of an engine that is simulated step by step, written by the project's own writers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace as changed
from run_maker import mllog

from harness_llm.core import EventStatus, Mode, Scenario
from harness_llm.logs.schedule import arrivals_ns
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.paths import EVENTS_NPY, FACTS_JSON, RUN_JSON, TEST_JSON, config_file, replica_folder
from harness_llm.results.reading import as_json, write_record
from harness_llm.results.recompute import percentile
from harness_llm.results.records import DatasetRecord, EngineRecord, RunRecord, TestRecord

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

SEED = 16159082839903944936
_START_NS = 5 * 10**12


@dataclass(frozen=True)
class Plan:
    """What is run, and how the engine behaves.

    Attributes:
        queries: How many.
        qps: Rate of arrivals.
        noise: Seed of what differs between two runs of one system.
        slower: Time of a step over that of the plain engine.
        stalls: Times at which every replica stands still, seconds, and for how long.
        replicas: How many, each with every n-th query.
    """

    queries: int = 4800
    qps: float = 8.0
    noise: int = 0
    slower: float = 1.0
    stalls: tuple[tuple[float, float], ...] = ()
    replicas: int = 1


def simulate(plan: Plan) -> npt.NDArray[Any]:
    """The events of a Server test."""
    due = arrivals_ns(SEED, plan.qps, plan.queries)
    lengths = np.random.RandomState(1)
    events = np.zeros(plan.queries, EVENT_DTYPE)
    events["sample"] = lengths.permutation(plan.queries)
    events["tokens"] = np.clip(np.exp(lengths.randn(plan.queries) * 0.6) * 90, 2, 600)
    events["prompt_tokens"] = np.clip(np.exp(lengths.randn(plan.queries) * 0.6) * 200, 10, 1000)
    events["replica"] = np.arange(plan.queries) % plan.replicas
    events["status"] = EventStatus.FINISHED
    events["issued_ns"] = due + 20_000
    for replica in range(plan.replicas):
        own = events["replica"] == replica
        first, last = _serve(due[own] / 1e9, events["tokens"][own], plan, plan.noise * 100 + replica)
        events["first_token_ns"][own], events["finished_ns"][own] = first * 1e9, last * 1e9
    for field in ("issued_ns", "first_token_ns", "finished_ns"):
        events[field] += _START_NS
    return events


def _serve(
    due: npt.NDArray[Any], tokens: npt.NDArray[Any], plan: Plan, noise: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """When the first and the last token of each query came: all that is there takes part in each step."""
    generator = np.random.RandomState(noise)
    first, last = np.zeros(len(due)), np.zeros(len(due))
    left, running, now, drift = tokens.copy(), np.empty(0, np.int64), 0.0, 0.0
    come, stalls = 0, list(plan.stalls)
    while come < len(due) or len(running):
        if not len(running) and due[come] > now:
            now = float(due[come])
        new = int(np.searchsorted(due, now, "right"))
        begun, come = np.arange(come, new), new
        drift = 0.999 * drift + 0.0005 * generator.randn()
        step = (0.012 + 0.0004 * len(running) + 0.004 * len(begun)) * plan.slower
        now += step * float(np.exp(drift + 0.05 * generator.randn()))
        if stalls and now >= stalls[0][0]:
            now += stalls.pop(0)[1]
        running = np.concatenate([running, begun])
        first[begun] = now
        left[running] -= 1
        over = left[running] == 0
        last[running[over]] = now
        running = running[~over]
    return first, last


def write_run(path: Path, plan: Plan, **record: Any) -> Path:
    """Write the run folder of a Server test."""
    return write_events(path, plan, simulate(plan), **record)


def write_events(path: Path, plan: Plan, events: npt.NDArray[Any], **record: Any) -> Path:
    """Write the run folder of a Server test that went as its events say."""
    test = path / Scenario.SERVER / Mode.PERFORMANCE.folder
    test.mkdir(parents=True)
    np.save(test / EVENTS_NPY, events)
    (test / "mlperf_log_detail.txt").write_text(mllog(**_logged(plan, events)))
    (test / "mlperf_log_summary.txt").write_text("Result is : VALID\nNo errors encountered during test.\n")
    data = DatasetRecord(name="synthetic", samples=plan.queries, digest="d" * 64)
    blank = finished_test(plan, data)
    write_record(test / TEST_JSON, blank)
    run = RunRecord.blank()
    facts = {
        "benchmark": "toy", "state": "complete", "started_utc": "2026-01-01T00:00:00Z", "simulated": False,
        "dataset": data, "tests": ("Server/performance",), "packages": {"engine": "1"},
    }  # fmt: skip
    write_record(path / RUN_JSON, changed(run, **{**facts, **record}))
    config = config_file(path, Scenario.SERVER)
    config.parent.mkdir()
    config.write_text(f"llm_config: {{max_num_seqs: {plan.replicas}}}\nharness_config: {{}}\n")
    engine = EngineRecord(name="vllm", version="1", max_concurrent=256)
    made = {"max_num_seqs": {"given": 512, "resolved": 256}}
    for number in range(plan.replicas):
        folder = replica_folder(path, "Server", number)
        folder.mkdir(parents=True)
        (folder / FACTS_JSON).write_bytes(as_json(changed(engine, changed=made)))
    return path


def finished_test(plan: Plan, data: DatasetRecord) -> TestRecord:
    """test.json of a test that ended well."""
    return changed(
        TestRecord.blank(), state="complete", scenario=Scenario.SERVER, target_qps=plan.qps, engines="Server",
        dataset=data, samples=plan.queries, seconds=600.0, loadgen_model="toy",
    )  # fmt: skip


def _logged(plan: Plan, events: npt.NDArray[Any]) -> dict[str, object]:
    """What LoadGen would have logged of it."""
    due = arrivals_ns(SEED, plan.qps, len(events)) + _START_NS
    ttft = events["first_token_ns"] - due
    tpot = (events["finished_ns"] - events["first_token_ns"]) // np.maximum(events["tokens"] - 1, 1)
    seconds = (int(events["finished_ns"][-1]) - int(due[0])) / 1e9
    return {
        "effective_schedule_rng_seed": SEED,
        "effective_target_qps": plan.qps,
        "requested_server_ttft_latency": 2_000_000_000,
        "requested_server_tpot_latency": 200_000_000,
        "result_validity": "VALID",
        "result_completed_tokens_per_second": int(events["tokens"].sum()) / seconds,
        "result_query_count": len(events),
        "result_first_token_99.00_percentile_latency_ns": percentile(ttft, 0.99),
        "result_time_per_output_token_99.00_percentile_ns": percentile(tpot, 0.99),
        "num_errors": 0,
    }


def other_noise(plan: Plan, noise: int) -> Plan:
    """The same plan in another run."""
    return replace(plan, noise=noise)
