"""Replicas on two Ray nodes, each in a network namespace of its own: real LoadGen, Ray and TCP."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from runs import USER_CONF, Run

from harness_llm.core import EventStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SCRIPT = Path(__file__).with_name("two_hosts.sh")
NAME = f"harness{os.getpid()}"
CLUSTER = {
    "launcher": {"kind": "ray", "address": "10.77.0.1:6379"}, "interface": "10.77.0.1", "replicas": 2,
}  # fmt: skip
LONG = USER_CONF.replace("min_duration = 1000", "min_duration = 60000")
SLOW = {"kind": "simulated", "first_token_ms": 50, "per_token_ms": 20, "concurrent": 8}


@dataclass
class OnFirstHost(Run):
    """A run whose command is given on the first host."""

    @property
    def command(self) -> list[str]:
        return ["ip", "netns", "exec", f"{NAME}-1", *super().command]


def _script(*arguments: str) -> None:
    done = subprocess.run(["bash", str(SCRIPT), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[None]:
    """Two hosts, new for each test, for some lose one."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    folder = Path("/tmp") / NAME  # noqa: S108 - Ray's sockets need a short path
    try:
        _script("start", NAME, str(folder))
        yield
    finally:
        _script("stop", NAME)
        shutil.rmtree(folder, ignore_errors=True)


def _replicas(host: int) -> list[psutil.Process]:
    """Replicas that run on a host."""
    ids = subprocess.check_output(["ip", "netns", "pids", f"{NAME}-{host}"], text=True)
    found = []
    for number in map(int, ids.split()):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since, or waits to be reaped
            process = psutil.Process(number)
            if "harness_llm.replica.process" in process.cmdline():
                found.append(process)
    return found


def _wait_until_gone(*hosts: int, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while left := [process for host in hosts for process in _replicas(host)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def _run(folder: Path, user_conf: str = USER_CONF, **harness: Any) -> OnFirstHost:
    given = {"scenarios": ["Server"], "replicas": 2, **CLUSTER, **harness}
    return OnFirstHost(folder, user_conf=user_conf, harness=given)


@pytest.mark.usefixtures("hosts")
def test_a_run_on_two_hosts_is_valid_and_each_has_answered(tmp_path: Path) -> None:
    run = _run(tmp_path)
    code, errors = run.complete(seconds=180)
    assert code == 0, errors
    assert "replicas run on 10.77.0.1, 10.77.0.2" in run.out
    events = run.events("Server/performance")
    assert (events["status"] == EventStatus.FINISHED).all() and set(events["replica"]) == {0, 1}
    assert min((events["replica"] == number).sum() for number in (0, 1)) > len(events) / 4
    for number in (0, 1):
        assert run.json(f"replicas/Server/{number}/facts.json")["name"] == "simulated"
        assert (run.output / f"replicas/Server/{number}/log.txt").exists()
    _wait_until_gone(1, 2)


@pytest.mark.usefixtures("hosts")
def test_a_lost_host_is_a_lost_replica(tmp_path: Path) -> None:
    run = _run(tmp_path, LONG, engine=SLOW)
    run.start()
    run.wait_until_asked("Server/performance", 20, 120)
    began = time.monotonic()
    _script("lose", NAME)
    code, errors = run.wait(60)
    assert code == 3, errors
    assert time.monotonic() - began < 8 + 5 + 10, "silence_timeout_s, and time to end what lives"
    reason = run.json("run.json")["reason"]
    assert "replica-1" in reason or "replica-0" in reason
    assert "silent" in reason or "was lost with its host 10.77.0.2" in reason
    _wait_until_gone(1)


@pytest.mark.usefixtures("hosts")
def test_a_lost_host_is_survived_where_samples_go_to_the_others(tmp_path: Path) -> None:
    run = _run(tmp_path, engine={**SLOW, "per_token_ms": 80}, tests=["accuracy"])
    run.start()
    run.wait_until_asked("Server/accuracy", 10, 120)
    _script("lose", NAME)
    code, errors = run.wait(180)
    assert code in (0, 1), errors
    assert run.json("run.json")["state"] == "complete"
    events = run.events("Server/accuracy")
    assert sorted(events["sample"]) == list(range(120)) and (events["status"] == EventStatus.FINISHED).all()
    _wait_until_gone(1)


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_nothing_on_any_host(tmp_path: Path, number: signal.Signals) -> None:
    run = _run(tmp_path, LONG, engine=SLOW)
    run.start()
    run.wait_until_asked("Server/performance", 20, 120)
    assert _replicas(1) and _replicas(2)
    (supervisor,) = (it for it in run.processes("harness_llm") if "run" in it.cmdline()[3:4])
    supervisor.send_signal(number)
    code, errors = run.wait(60)
    assert code in ({3} if number == signal.SIGINT else {-9, 137}), errors
    if number == signal.SIGINT:
        assert run.json("run.json")["state"] == "interrupted"
    _wait_until_gone(1, 2, seconds=30)


@pytest.mark.usefixtures("hosts")
def test_what_the_cluster_cannot_hold_is_said_at_once(tmp_path: Path) -> None:
    launcher = {**CLUSTER["launcher"], "gpus": 4}  # type: ignore[dict-item]
    run = _run(tmp_path, launcher=launcher)
    code, errors = run.complete(seconds=60)
    assert code == 3 and "no host of the Ray cluster at 10.77.0.1:6379 has 1 CPU and 4 GPU" in errors, errors
    launcher["gpus"] = None
    (tmp_path / "more").mkdir()
    run = _run(tmp_path / "more", launcher=launcher, replicas=3)
    code, errors = run.complete(seconds=120)
    assert code == 3 and "could not be placed: no host of the Ray cluster has 1 CPU free" in errors, errors
    _wait_until_gone(1, 2)


def test_a_cluster_that_is_not_there_is_said(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    cluster = {"launcher": {"kind": "ray", "address": "127.0.0.1:1"}, "interface": "127.0.0.1", "replicas": 2}
    run = Run(tmp_path, harness={"scenarios": ["Server"], **cluster})
    code, errors = run.complete(seconds=120)
    assert code == 3 and "no Ray cluster at 127.0.0.1:1" in errors, errors
    run.assert_nothing_is_left()


@pytest.mark.vllm
@pytest.mark.usefixtures("hosts")
def test_vllm_answers_on_two_hosts(tmp_path: Path) -> None:
    model = Path(os.environ.get("LAB_MODEL", "/data/inference/model")) / "smollm2-135m-instruct"
    if not (model / "config.json").is_file():
        pytest.skip(f"{model} is not there: run download_model.py --model smollm2-135m, or set LAB_MODEL")
    conf = "sim.Offline.target_qps = 4\nsim.Offline.min_duration = 100\nsim.Offline.min_query_count = 12\n"
    run = _run(
        tmp_path, conf, scenarios=["Offline"], engine="vllm", max_tokens=8, tests=["performance"],
        dataset={"kind": "synthetic", "shape": "12:20-60:4-8"}, engine_env={"VLLM_CPU_KVCACHE_SPACE": "1"},
        offline_backlog=1,
    )  # fmt: skip
    run.llm = {
        "model": str(model), "dtype": "bfloat16", "max_model_len": 256, "max_num_seqs": 2,
        "enforce_eager": True,
    }  # fmt: skip
    code, errors = run.complete(seconds=600)
    assert code in (0, 1), errors  # so few queries are INVALID
    events = run.events("Offline/performance")
    assert (events["status"] == EventStatus.FINISHED).all() and set(events["replica"]) == {0, 1}
    _wait_until_gone(1, 2)
