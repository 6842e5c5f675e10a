"""Real vLLM and real LoadGen on four samples."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from runs import Run

from harness_llm.core import EventStatus
from harness_llm.datasets.table import SampleTable
from harness_llm.engines.vllm_arguments import installed_arguments
from harness_llm.logs.detail import DetailLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

SAMPLES = 4
LEAST, MOST = 4, 24
LOAD_S = 400.0
USER_CONF = """\
sim.*.use_token_latencies = 1
sim.Server.ttft_latency = 60000
sim.Server.tpot_latency = 60000
sim.Server.target_qps = 4
sim.Server.min_duration = {server_ms}
sim.Server.min_query_count = 8
sim.Offline.target_qps = 1
sim.Offline.min_duration = 1
sim.Offline.min_query_count = 4
"""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a vLLM run needs beyond a simulated one."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    model = Path(os.environ.get("LAB_MODEL", "/data/inference/model")) / "smollm2-135m-instruct"
    if not (model / "config.json").is_file():
        pytest.skip(f"{model} is not there: run download_model.py --model smollm2-135m, or set LAB_MODEL")
    prompts = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    lines = [{"token_ids": [1 + n, *range(500, 520 + n)], "min_tokens": LEAST} for n in range(SAMPLES)]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "user_conf": USER_CONF.format(server_ms=1000),
        "llm": {
            "model": str(model), "dtype": "bfloat16", "max_model_len": 256, "max_num_seqs": 4,
            "enforce_eager": True,
        },
        "harness": {
            "engine": "vllm", "dataset": "jsonl", "dataset_path": str(prompts),
            "max_tokens": MOST, "engine_env": {"VLLM_CPU_KVCACHE_SPACE": "1"}, "tests": ["performance"],
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(arguments: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    run = Run(tmp_path_factory.mktemp("run"), **arguments)
    code, errors = run.complete(seconds=LOAD_S)
    assert code in (0, 1), errors  # 8 queries are too few to be VALID
    yield run
    run.end()


def test_the_engine_says_what_it_is(run: Run) -> None:
    facts = run.json("replicas/Offline-Server/0/facts.json")
    assert (facts["name"], facts["is_simulated"], facts["max_concurrent"]) == ("vllm", False, 4)
    assert facts["resolved"]["config"]
    assert run.json("run.json")["marker"] == "unofficial"
    run.assert_nothing_is_left()


@pytest.mark.parametrize("scenario", ["Offline", "Server"])
def test_tokens_and_first_tokens_are_consistent(run: Run, scenario: str) -> None:
    test = f"{scenario}/performance"
    events = run.events(test)
    log = DetailLog.read(run.output / test / "mlperf_log_detail.txt")
    assert not log.error_lines, log.errors
    assert len(events) >= (8 if scenario == "Server" else SAMPLES)
    assert set(events["sample"]) <= set(range(SAMPLES))
    assert (events["status"] == EventStatus.FINISHED).all()
    assert ((events["tokens"] >= LEAST) & (events["tokens"] <= MOST)).all()
    table = SampleTable.load(run.output / "samples.npz")
    assert events["prompt_tokens"].tolist() == table.prompt_lengths[events["sample"]].tolist()
    for sample in set(events["sample"]):  # greedy: equal prompts, equal lengths up to a tie in a batch
        assert len(set(events["tokens"][events["sample"] == sample])) <= 2
    if scenario == "Server":
        assert (events["first_token_ns"] > events["issued_ns"]).all()
        assert (events["first_token_ns"] < events["finished_ns"]).all()
        answered = events["tokens"].sum() / log.tokens_per_second
        assert answered == pytest.approx(
            (events["finished_ns"].max() - events["issued_ns"].min()) / 1e9, rel=0.3
        )


def test_an_unknown_argument_is_answered_with_the_nearest_known_one(
    arguments: dict[str, Any], new_run: Callable[..., Run]
) -> None:
    run = new_run(**{**arguments, "llm": {**arguments["llm"], "max_num_seq": 8}})
    code, errors = run.complete()
    assert code == 2
    assert "llm_config.max_num_seq" in errors
    assert "did you mean 'max_num_seqs'?" in errors
    assert not run.output.exists(), "nothing was started"


def test_the_arguments_read_from_vllms_source_are_those_that_it_has(arguments: dict[str, Any]) -> None:
    code = "import dataclasses, vllm.engine.arg_utils as a; print(*(f.name for f in dataclasses.fields("
    code += "a.AsyncEngineArgs)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(out.splitlines()[-1].split()) == set(installed_arguments() or ())
    assert set(arguments["llm"]) <= set(out.split())


def test_a_killed_engine_core_ends_the_run_and_leaves_nothing(
    arguments: dict[str, Any], new_run: Callable[..., Run]
) -> None:
    run = new_run(**{**arguments, "user_conf": USER_CONF.format(server_ms=300_000)})
    run.harness = {**run.harness, "scenarios": ["Server"]}
    run.start()
    run.wait_until_asked("Server/performance", 3, LOAD_S)
    family = run.family()
    (replica,) = run.processes("harness_llm.replica.process")
    (core,) = (child for child in replica.children() if "EngineCore" in " ".join(child.cmdline()))
    started = time.monotonic()
    core.kill()
    code, errors = run.wait(30)
    assert time.monotonic() - started < 10
    assert code == 3, errors
    reason = run.json("run.json")["reason"]
    assert "vLLM's engine core process died: it was killed by SIGKILL" in reason, reason
    assert "want of memory" in errors, errors
    assert run.json("Server/performance/test.json")["state"] == "broken"
    _gone, alive = psutil.wait_procs(family, timeout=5)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    assert (run.events("Server/performance")["status"] == EventStatus.FINISHED).sum() >= 3


@pytest.mark.long
def test_a_stopped_engine_core_is_named_while_loadgen_issues(
    arguments: dict[str, Any], new_run: Callable[..., Run]
) -> None:
    run = new_run(**{**arguments, "user_conf": USER_CONF.format(server_ms=300_000)})
    run.harness = {**run.harness, "scenarios": ["Server"], "stall_timeout_s": 4}
    run.start()
    run.wait_until_asked("Server/performance", 3, LOAD_S)
    (replica,) = run.processes("harness_llm.replica.process")
    (core,) = (child for child in replica.children() if "EngineCore" in " ".join(child.cmdline()))
    started = time.monotonic()
    core.suspend()
    code, errors = run.wait(30)
    assert time.monotonic() - started < 4 + 5
    assert code == 3, errors
    reason = run.json("run.json")["reason"]
    assert "has generated nothing for" in reason and f"(process {core.pid})" in reason, reason
    run.assert_nothing_is_left()
