"""The tenants study by its own command, on simulated engines and beside a stand-in for the MPS daemon."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from harness_llm.results.events import read_events

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).parent / "fake_mps.py"
ENGINE = """\
llm_config: {{}}
harness_config:
  benchmark: sim
  scenario: {scenario}
  engine: {{kind: simulated, first_token_ms: {first}, per_token_ms: {each}}}
  dataset: {{kind: synthetic, shape: "40:8:11"}}
  max_tokens: 11
  user_conf: {conf}
"""
CONF = """\
sim.*.use_token_latencies = 1
sim.Server.ttft_latency = 300
sim.Server.tpot_latency = 100
sim.Server.target_qps = 200
sim.*.min_duration = 1500
sim.Server.min_query_count = 700
sim.Offline.target_qps = 50
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path: sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="tt"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "user.conf").write_text(CONF)
    for name, scenario, first, each in (("quick", "Server", 10, 1), ("slow", "Server", 20, 4)):
        text = ENGINE.format(scenario=scenario, first=first, each=each, conf=tmp_path / "user.conf")
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def _write(files: Path, *tenants: str, **keys: object) -> Path:
    lines = [f"{key}: {json.dumps(value)}" for key, value in keys.items()]
    path = files / "study.yaml"
    path.write_text(
        "\n".join(["experiment_name: test", *lines, "tenants:", *(f"  - {it}" for it in tenants), ""])
    )
    return path


def _tenant(files: Path, name: str, engine: str, workload: str = "", more: str = "") -> str:
    asks = f", workload: {{{workload}}}" if workload else ""
    return f"{{name: {name}, harness: {files / engine}.yaml{asks}{more}}}"


def _start(path: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness_llm", "study", "tenants", "-c", str(path), "--view", "plain",
               "--output", str(path.parent / "study"), *arguments]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'code'}", **variables}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _end(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=120)
    return said


def _trials(study: Path) -> dict[str, dict[str, object]]:
    metrics = json.loads((study / "metrics.json").read_text())
    return {"+".join(it["tenants"]): it for it in metrics["trials"]}


def test_subsets_are_measured_on_one_load_with_constant_contention(files: Path) -> None:
    path = _write(
        files,
        _tenant(files, "long", "quick", "kind: closed, concurrency: 1, iterations: 100"),
        _tenant(files, "brief", "slow", "kind: batch, size: 4, iterations: 3, warm_up: 4"),
        matrix="solo",
    )
    said = _end(process := _start(path))
    assert process.returncode == 0, said
    study = files / "study"
    assert said.count("1 replica of simulated 1 ready") == 2  # each tenant once, for three points
    trials = _trials(study)
    assert set(trials) == {"long", "brief", "long+brief"}
    models = trials["long+brief"]["models"]
    assert models["long"]["num_iters"] == 100 and models["brief"]["num_iters"] == 3
    assert 20 <= models["long"]["p50_ms"] < 30 and 60 <= models["brief"]["p50_ms"] < 75
    assert 10 <= models["long"]["ttft_p50_ms"] < 15 and 3.9 <= models["brief"]["tpot_p50_ms"] < 5
    assert models["long"]["slowdown"] == pytest.approx(1, abs=0.3)  # sleeping engines share nothing
    events = {
        name: read_events(study / "trials" / "all together #1" / name / "events.npy")
        for name in ("long", "brief")
    }
    measured = events["long"]["issued_ns"][:100]
    theirs = events["brief"]["finished_ns"]
    assert (measured <= theirs.max()).mean() >= 0.99
    assert (measured <= np.sort(theirs)[4 + 12 - 1]).mean() < 0.4, "stopping at its own end would be alone"
    assert (study / "config.yaml").read_text() == path.read_text()
    assert {it.name for it in study.glob("*/events.jsonl").__iter__()} == {"events.jsonl"}
    assert (study / "report.html").exists() and (study / "plots" / "slowdown_matrix.png").exists()


@pytest.mark.long
def test_a_loadgen_tenant_has_its_verdict_beside_one_at_a_rate(files: Path) -> None:
    path = _write(
        files,
        _tenant(files, "mlperf", "quick"),
        _tenant(files, "rate", "slow", "kind: rate, qps: 40, duration_s: 2"),
    )
    said = _end(process := _start(path))
    assert process.returncode == 0, said
    assert "mlperf: LoadGen says VALID, beside the others" in said
    folder = files / "study" / "trials" / "all together #1"
    assert (folder / "mlperf" / "mlperf_log_detail.txt").exists()
    models = _trials(files / "study")["mlperf+rate"]["models"]
    assert models["mlperf"]["num_iters"] >= 700 and models["mlperf"]["ttft_p50_ms"] == pytest.approx(
        11, abs=4
    )
    assert models["rate"]["tpot_p50_ms"] == pytest.approx(4, abs=1)
    lines = (files / "study" / "rate" / "events.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["type"] == "run_start" and json.loads(lines[-1])["type"] == "time_elapsed"


# ---------------------------------------------------------------- MPS, by the stand-in


@pytest.fixture
def mps(short: Path) -> dict[str, str]:
    """Variables that put the stand-in on the path, and its sockets into a folder of the test's own."""
    (program := short / "nvidia-cuda-mps-control").write_text(f"#!{sys.executable}\n{FAKE.read_text()}")
    program.chmod(0o755)
    return {"PATH": f"{short}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(short)}


def _pair(files: Path, seconds: float, more: str = "") -> Path:
    asks = f"kind: closed, concurrency: 1, duration_s: {seconds}"
    tenants = (_tenant(files, "one", "quick", asks, more), _tenant(files, "two", "quick", asks))
    return _write(files, *tenants, mps=True, device="cuda")


def _mps_processes(short: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            variable = process.environ().get("CUDA_MPS_PIPE_DIRECTORY", "")
            if variable.startswith(str(short)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _nothing_is_left(short: Path) -> bool:
    deadline = time.monotonic() + 25
    while time.monotonic() < deadline:
        if not _mps_processes(short) and not list(short.glob("mps-*")):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.long
def test_tenants_use_the_daemon_and_nobody_else_does(files: Path, short: Path, mps: dict[str, str]) -> None:
    more = ", active_thread_percentage: 25, memory: 20G, priority: low"
    path = _pair(files, 2, more)
    process = _start(path, **mps, CUDA_VISIBLE_DEVICES="0")
    seen: dict[str, dict[str, str]] = {}
    while process.poll() is None:
        for own in _mps_processes(short):
            try:
                if "harness_llm.replica.process" in (words := own.cmdline()):
                    seen[Path(words[-1]).parts[-3]] = own.environ()
                else:
                    assert "nvidia-cuda-mps" in " ".join(words)
            except psutil.Error:
                continue
        time.sleep(0.05)
    said = _end(process)
    assert process.returncode == 0, said
    keys = ("ACTIVE_THREAD_PERCENTAGE", "PINNED_DEVICE_MEM_LIMIT", "CLIENT_PRIORITY")
    assert [seen["one"].get(f"CUDA_MPS_{key}") for key in keys] == ["25", "0=20G", "1"]
    assert [seen["two"].get(f"CUDA_MPS_{key}") for key in keys] == [None, None, None]
    proof = json.loads((files / "study" / "mps.json").read_text())
    assert len(proof["servers"]) == 1 and all(len(proof["clients"][name]) == 1 for name in ("one", "two"))
    assert _nothing_is_left(short)


@pytest.mark.long
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("forgets", "MPS is on, but one, two do not use it: the daemon's clients are none"),
        ("refuses", "did not have permission to start"),
        ("dies", "nvidia-cuda-mps-control ended while it was needed"),
    ],
)
def test_a_daemon_that_is_of_no_use_ends_the_study(
    files: Path, short: Path, mps: dict[str, str], how: str, words: str
) -> None:
    said = _end(process := _start(_pair(files, 20), **mps, FAKE_MPS=how))
    assert process.returncode == 3 and words in said and "Traceback" not in said, said
    assert "mps=false" in said or how == "dies"
    assert _nothing_is_left(short)


@pytest.mark.long
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("end", ["kill", "int", "term", "stays"])
def test_no_daemon_is_left_however_it_ends(
    files: Path, short: Path, mps: dict[str, str], end: str, number: int
) -> None:
    del number
    how = "stays" if end == "stays" else ""
    process = _start(_pair(files, 1 if how else 60), **mps, FAKE_MPS=how)
    if not how:
        deadline = time.monotonic() + 60
        while not list(files.glob("study/trials/*/*/events.npy")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _mps_processes(short)
        number_of = {"kill": signal.SIGKILL, "int": signal.SIGINT, "term": signal.SIGTERM}[end]
        process.send_signal(number_of)
    _end(process)
    assert _nothing_is_left(short)


def test_without_the_daemon_the_way_on_is_named_at_once(files: Path, short: Path) -> None:
    began = time.monotonic()
    path = f"{Path(sys.executable).parent}{os.pathsep}/bin"
    said = _end(process := _start(_pair(files, 1), PATH=path, TMPDIR=str(short)))
    assert process.returncode == 2 and "is not on this host" in said and "--set mps=false" in said
    assert time.monotonic() - began < 8 and not (files / "study").exists()


# ---------------------------------------------------------------- faults, at each stage

FAULTS = [
    *((number, "replica", stage) for number in ("KILL", "STOP") for stage in ("loading", "measuring")),
    *(
        (number, "driver", stage)
        for number in ("KILL", "STOP")
        for stage in ("warm-up", "armed", "measuring")
    ),
    ("sample", "replica", "measuring"),
    ("late", "driver", "warm-up"),
]
SILENT_S = {"loading": 60, "warm-up": 8, "armed": 8, "measuring": 8}  # until one that was stopped is lost
ENDS_S = 5 + 10  # the others' grace, and a busy host


def _children_of(process: subprocess.Popen[str], module: str, tenant: str) -> list[int]:
    found = []
    for child in psutil.Process(process.pid).children():
        try:
            words = child.cmdline()
        except psutil.Error:
            continue
        if f"harness_llm.{module}.process" in words and tenant in Path(words[-1]).parts:
            found.append(child.pid)
    return found


def _stage(study: Path) -> str:
    path = study / "live.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return str(json.loads(lines[-1])["stage"]) if lines else ""


def _is_at(study: Path, stage: str) -> bool:
    if stage == "loading":
        return True
    if stage == "measuring":
        return _stage(study) == "measuring"
    events = list(study.glob("trials/*/prompt_one/events.npy"))
    return bool(events) and time.time() - events[0].stat().st_mtime > 1.5  # its own warm-up is over by then


@pytest.mark.long
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(("fault", "module", "stage"), FAULTS)
def test_any_fault_ends_the_study_soon_and_names_who_it_was(
    files: Path, fault: str, module: str, stage: str, number: int
) -> None:
    del number
    if fault == "sample":
        text = (
            (files / "quick.yaml").read_text().replace("per_token_ms: 1", "per_token_ms: 1, fail_every: 500")
        )
        (files / "quick.yaml").write_text(text)
    closed = "kind: closed, concurrency: 4, duration_s: 40"
    path = _write(
        files,
        _tenant(files, "prompt_one", "quick", f"{closed}, warm_up: 4"),
        # 1,024 requests at once take 60 ms; its engine has room for one, so these take 9 s
        _tenant(files, "slow_one", "narrow", f"{closed}, warm_up: 150"),
        sleep_duration=3 if fault == "late" else 120,
    )
    narrow = (files / "slow.yaml").read_text().replace("per_token_ms: 4", "per_token_ms: 4, concurrent: 1")
    (files / "narrow.yaml").write_text(narrow)
    process, study = _start(path), files / "study"
    tenant = "slow_one" if stage == "warm-up" else "prompt_one"
    hit_s = 0.0
    deadline = time.monotonic() + 60
    while process.poll() is None and not hit_s and fault in ("KILL", "STOP") and time.monotonic() < deadline:
        pids = _children_of(process, module, tenant)
        if pids and _is_at(study, stage):
            os.kill(pids[0], getattr(signal, f"SIG{fault}"))
            hit_s = time.monotonic()
        time.sleep(0.02)
    said = _end(process)
    assert process.returncode == 3 and "Traceback" not in said, said
    limit_s = ENDS_S + (SILENT_S[stage] if fault == "STOP" else 0)
    assert (hit_s or fault in ("sample", "late")) and time.monotonic() - (hit_s or 1e9) < limit_s
    assert tenant in said.splitlines()[-2] + said.splitlines()[-1] or tenant in said.split("error")[-1], said
    assert json.loads((study / "study.json").read_text())["state"] == "broken"
    assert not list(study.glob("trials/*/trial.json"))
    assert not [it for it in psutil.process_iter() if str(files) in " ".join(_words(it))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
