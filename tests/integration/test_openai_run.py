"""Real LoadGen against OpenAI-compatible servers: small ones that answer or break, and vLLM's own."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openai_server import Behave, Server, answers, beside, cuts, event, hangs, refuses, says
from runs import USER_CONF, Run

from harness_llm.core import EventStatus
from harness_llm.engines.openai import OpenAI
from harness_llm.logs.accuracy_log import read_answers
from harness_llm.logs.detail import DetailLog

KEY = "HARNESS_LLM_TEST_KEY"
SECRET = "a-key-that-no-file-may-hold"
SMALL = USER_CONF.replace("= 4000", "= 400").replace("= 300", "= 100").replace("= 500", "= 50")
LOAD_S = 400.0
PREFLIGHT_REQUESTS = 6  # of the three samples, alone and in a batch


@pytest.fixture
def server() -> Iterator[Server]:
    with beside() as server:
        server.answers_warm_ups = True
        yield server


def _engine(*servers: Server, **options: object) -> dict[str, object]:
    return {"kind": "openai", "base_urls": [server.url for server in servers], **options}


def test_several_servers_are_several_replicas_and_the_key_is_written_nowhere(
    server: Server, new_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    with beside() as other:
        engine = _engine(server, other, api_key_env=KEY, concurrent=8)
        run = new_run(user_conf=SMALL, harness={"engine": engine})
        code, errors = run.complete()
        assert code in (0, 1), errors
        assert f"[{OpenAI.marker}; unofficial]" in errors + run.out
        assert min(len(server.asked), len(other.asked)) > 40, "both were asked"
        assert all(each.headers["Authorization"] == f"Bearer {SECRET}" for each in (server, other))
    assert run.json("run.json")["marker"] == f"{OpenAI.marker}; unofficial"
    for number in (0, 1):
        facts = run.json(f"replicas/Offline-Server/{number}/facts.json")
        assert (facts["name"], facts["version"]) == ("openai", "server vllm 1.2, model tiny")
    for scenario in ("Offline", "Server"):
        events = run.events(f"{scenario}/performance")
        assert len(events) >= 50 and (events["status"] == EventStatus.FINISHED).all()
        assert set(events["replica"]) == {0, 1}
        log = DetailLog.read(run.output / scenario / "performance/mlperf_log_detail.txt")
        assert not log.error_lines
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert len(files) > 10 and not [path for path in files if SECRET.encode() in path.read_bytes()]
    run.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (refuses(429), "HTTP 429: no room: try later"),
        (refuses(500), "HTTP 500: no room: try later"),
        (cuts, "replica 0: the engine failed on sample"),
        (says({"choices": [{"text": "Hello", "finish_reason": "stop"}]}, "[DONE]"), "text without token ids"),
        (says(event(5, 6), "[DONE]"), "the stream ended without a finish_reason"),
        (says({"choices": [{"token_ids": ["a"]}]}), "Expected `int`, got `str`"),
        (hangs, "has generated nothing for 3 s"),
    ],
    ids=["429", "500", "cut", "text", "done-early", "wrong-ids", "hangs"],
)
def test_a_server_that_breaks_ends_the_run_in_its_words(
    server: Server, new_run: Callable[..., Run], behave: Behave, reason: str
) -> None:
    server.behave, server.answers_first = behave, PREFLIGHT_REQUESTS
    harness = {"scenarios": ["Server"], "engine": _engine(server), "stall_timeout_s": 3}
    run = new_run(user_conf=SMALL, harness=harness)
    started = time.monotonic()
    code, errors = run.complete(seconds=60)
    assert time.monotonic() - started < 30
    assert code == 3 and reason in errors, errors
    assert run.json("run.json")["state"] == "broken" and reason in run.json("run.json")["reason"]
    assert not (run.events("Server/performance")["status"] == EventStatus.FINISHED).any()
    run.assert_nothing_is_left()


def test_a_server_that_is_broken_from_the_start_ends_the_run_before_loadgen(
    server: Server, new_run: Callable[..., Run]
) -> None:
    server.behave = refuses(500)
    run = new_run(user_conf=SMALL, harness={"scenarios": ["Server"], "engine": _engine(server)})
    code, errors = run.complete(seconds=60)
    assert code == 3 and "HTTP 500: no room: try later" in errors, errors
    assert not (run.output / "Server/performance/events.npy").exists()
    run.assert_nothing_is_left()


def test_a_server_without_token_ids_is_refused_at_the_start(
    server: Server, new_run: Callable[..., Run]
) -> None:
    server.answers_warm_ups = False
    server.behave = says({"choices": [{"text": "Hello", "finish_reason": "stop"}]}, "[DONE]")
    run = new_run(harness={"scenarios": ["Offline"], "engine": _engine(server)})
    code, errors = run.complete()
    assert code == 3 and "a warm-up prompt was not answered" in errors, errors
    assert "text without token ids is no answer: it ignores return_token_ids" in errors
    assert not (run.output / "Offline").exists()


def test_what_is_first_is_a_token_and_not_an_event_with_a_role(
    server: Server, new_run: Callable[..., Run]
) -> None:
    async def slowly(asked: dict[str, object], response: object) -> None:
        await says({"choices": [{"delta": {"role": "assistant"}}]}, {"choices": [{"text": ""}]})(
            asked, response
        )  # type: ignore[arg-type]

        await asyncio.sleep(0.3)
        await answers(asked, response)  # type: ignore[arg-type]

    server.behave = slowly
    run = new_run(user_conf=SMALL, harness={"scenarios": ["Server"], "engine": _engine(server)})
    code, errors = run.complete()
    assert code in (0, 1), errors
    log = DetailLog.read(run.output / "Server/performance/mlperf_log_detail.txt")
    assert log.ttft_p99_ns is not None and log.ttft_p99_ns > 300e6
    assert log.value("result_first_token_50.00_percentile_latency_ns") >= 300e6


def _model() -> Path:
    return Path(os.environ.get("LAB_MODEL", "/data/inference/model")) / "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server behind `vllm serve`, with SmolLM2 on one core; its address."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    model = _model()
    if not (model / "config.json").is_file():
        pytest.skip(f"{model} is not there: run download_model.py --model smollm2-135m, or set LAB_MODEL")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # `vllm serve` itself looks for a distribution called vllm, which a build for CPUs is not.
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model),
        "--served-model-name", "smol", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32",
        "--max-model-len", "256", "--max-num-seqs", "4", "--enforce-eager", "--no-enable-prefix-caching",
    ]  # fmt: skip
    variables = {
        "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": str(min(os.sched_getaffinity(0))),
        "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=output, stderr=output)
        try:
            _wait_for(f"http://127.0.0.1:{port}/v1/models", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LOAD_S
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(1)


def _direct(url: str, prompt: list[int], least: int, most: int) -> list[int]:
    """The server's answer to one request, without a stream and without the harness."""
    asked = {"model": "smol", "prompt": prompt, "min_tokens": least, "max_tokens": most}
    body = json.dumps({**asked, "temperature": 0, "return_token_ids": True}).encode()
    request = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        tokens: list[int] = json.load(response)["choices"][0]["token_ids"]
    return tokens


@pytest.mark.vllm
@pytest.mark.timeout(900)
def test_loadgen_gets_the_tokens_that_a_real_server_gives_when_it_is_asked_directly(
    vllm_server: str, new_run: Callable[..., Run], tmp_path: Path
) -> None:
    prompts = [[1 + n, *range(500, 520 + n)] for n in range(4)]
    rows = [{"token_ids": prompt, "min_tokens": 4, "reference": "some text"} for prompt in prompts]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    conf = "sim.*.use_token_latencies = 1\nsim.Server.ttft_latency = 60000\nsim.Server.tpot_latency = 60000\n"
    for scenario, rate in (("Server", 4), ("Offline", 1)):
        conf += f"sim.{scenario}.target_qps = {rate}\nsim.{scenario}.min_duration = 1\n"
        conf += f"sim.{scenario}.min_query_count = 8\n"
    harness = {
        "engine": {"kind": "openai", "base_urls": [vllm_server], "concurrent": 4},
        "dataset": {"kind": "jsonl", "path": str(tmp_path / "prompts.jsonl")}, "max_tokens": 24,
        "tests": ["performance", "accuracy"],
    }  # fmt: skip
    run = new_run(user_conf=conf, harness=harness, llm={"model": str(_model())})
    code, errors = run.complete(seconds=LOAD_S)
    assert code in (0, 1), errors
    facts = run.json("replicas/Offline-Server/0/facts.json")
    assert facts["version"].startswith("server vllm 0.") and facts["max_sequence_tokens"] == 256
    answers_to = [_direct(vllm_server, prompt, 4, 24) for prompt in prompts]
    for scenario in ("Offline", "Server"):
        events = run.events(f"{scenario}/performance")
        assert len(events) >= 8 and (events["status"] == EventStatus.FINISHED).all()
        log = DetailLog.read(run.output / scenario / "performance/mlperf_log_detail.txt")
        assert not log.error_lines, log.errors
        logged = list(read_answers(run.output / scenario / "accuracy/mlperf_log_accuracy.json"))
        assert {answer.sample for answer in logged} == {0, 1, 2, 3}
        assert [answer.tokens.tolist() for answer in logged] == [answers_to[each.sample] for each in logged]
    assert (events["first_token_ns"] < events["finished_ns"]).all()
    run.assert_nothing_is_left()
