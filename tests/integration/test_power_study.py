"""The power study by its own command, on a simulated card and on a library that records writes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
FAKES = ROOT / "tests" / "unit"
TINY = "{steps: 3, warm_up: 1, batch: 1, sequence: 16}"


def _start(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness_llm", "study", "power", "--view", "plain", *arguments]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'code'}", **variables}
    environment |= {} if "HARNESS_POWER_CONTROL" in variables else {"HARNESS_POWER_CONTROL": ""}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _end(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=120)
    return said


@pytest.fixture
def smoke(tmp_path: Path) -> list[str]:
    return [
        "-c", "studies/power/smoke.yaml", "--output", str(tmp_path / "study"), "--set", "values=[300, 700]",
        "--set", f"training={TINY}", "--set", "idle_s=0", "--set", "trial_s=1", "--set", "settle_s=0",
    ]  # fmt: skip


@pytest.mark.long
def test_a_study_is_measured_on_one_load_continued_after_a_kill_and_reported(
    tmp_path: Path, smoke: list[str]
) -> None:
    study = tmp_path / "study"
    process = _start(tmp_path, *smoke)
    deadline = time.monotonic() + 60
    while not list(study.glob("trials/*inference #1/trial.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    _end(process)
    before = {path: path.read_bytes() for path in study.glob("trials/*/trial.json")}
    assert 1 <= len(before) < 4
    said = _end(again := _start(tmp_path, *smoke))
    assert again.returncode == 0, said
    assert said.count("1 replica of simulated 1 ready") == 1
    assert all(path.read_bytes() == was for path, was in before.items())
    trials = [json.loads(path.read_bytes()) for path in study.glob("trials/*/trial.json")]
    assert sorted(it["label"] for it in trials if "broken" not in it["label"]) == [
        "300 W inference", "300 W training", "700 W inference", "700 W training",
    ]  # fmt: skip
    rows = list(csv.DictReader((study / "inference_stats.csv").read_text().splitlines()))
    assert {row["max_watt"] for row in rows} == {"300", "700"}
    seed = {"max_watt", "tokens_per_sec", "total_power_draw", "energy_per_token", "temperature", "timestamp",
            "gpu_utilization", "memory_utilization"}  # fmt: skip
    assert rows and all(row[name] for row in rows for name in seed)
    rate = {row["max_watt"]: float(row["window_tokens"]) / float(row["window_seconds"]) for row in rows}
    assert rate["300"] < rate["700"]  # the engine is slowed by its card
    training = list(csv.DictReader((study / "training_stats.csv").read_text().splitlines()))
    assert len(training) == 6 and all(row["loss"] for row in training) and seed < set(training[0])
    assert (study / "report.png").exists() and "simulated" in (study / "report.html").read_text()
    assert len(list(study.glob("fleets/inference/inference/*/facts.json"))) == 1
    other = _end(refused := _start(tmp_path, *smoke, "--set", "trials=2"))
    assert refused.returncode == 2 and "different values of trials" in other


# What a study does around its trials, as fast as it can be: set a cap, say so, and come to some end.
SETTER = """
import sys, time
from pathlib import Path
from harness_llm import ending
from harness_llm.fleet.watch import Watch
from harness_llm.power.sweep import PowerConfig, PowerStudy
from harness_llm.views.live import NoView

config = PowerConfig(knob="cap", phases=["training"], values=[300])
study = PowerStudy(config, Path(sys.argv[1]), set_caps=True)
with ending.clean_up(), Watch(NoView()) as watch, study.beside(watch, Path(sys.argv[1])):
    study._caps.set(300)
    print("set", flush=True)
    while sys.argv[2] == "wait":
        watch.turn("waiting")
    assert sys.argv[2] != "error"
"""
ENDS = {
    "kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT, "error": None, "success": None,
}  # fmt: skip
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may set caps")


def _cards(folder: Path, **more: object) -> tuple[Path, dict[str, str]]:
    """A `pynvml` of cards in a file, and the variables that put it on the path of every process."""
    (library := folder / "library").mkdir()
    shutil.copy(FAKES / "fake_pynvml.py", library / "pynvml.py")
    cards = folder / "cards.json"
    cards.write_text(json.dumps({"limits": [650_000, 600_000], "writes": [], **more}))
    path = f"{ROOT / 'code'}{os.pathsep}{library}"
    return cards, {**os.environ, "PYTHONPATH": path, "FAKE_NVML": str(cards)}


def _limits(cards: Path) -> list[int]:
    found: list[int] = msgspec.json.decode(cards.read_bytes())["limits"]
    return found


@needs_root
@pytest.mark.parametrize(
    ("end", "number"),
    [  # the hardest end once where time counts
        pytest.param(end, number, marks=() if (end, number) == ("kill", 0) else pytest.mark.long)
        for end in ENDS
        for number in range(20)
    ],
)
def test_caps_are_given_back_however_it_ends(tmp_path: Path, end: str, number: int) -> None:
    del number
    cards, variables = _cards(tmp_path)
    study = tmp_path / "study"
    study.mkdir()
    how = "wait" if ENDS[end] is not None else end
    command = [sys.executable, "-c", SETTER, str(study), how]
    process = subprocess.Popen(command, env=variables, text=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "set\n"
    if (number_of := ENDS[end]) is not None:
        assert _limits(cards) == [300_000, 300_000]
        process.send_signal(number_of)
    began = time.monotonic()
    process.communicate(timeout=30)
    while _limits(cards) != [650_000, 600_000] and time.monotonic() - began < 20:
        time.sleep(0.02)
    assert _limits(cards) == [650_000, 600_000]
    writes = json.loads(cards.read_text())["writes"]
    assert [it for card, it in writes if card == 0] == [650_000, 300_000, 650_000]
    while (study / "caps.json").exists() and time.monotonic() - began < 20:
        time.sleep(0.02)
    assert not (study / "caps.json").exists()


@needs_root
@pytest.mark.long
def test_a_host_that_refuses_ends_it_before_anything_is_measured(tmp_path: Path) -> None:
    cards, variables = _cards(tmp_path, refuses=True)
    arguments = [
        "-c", "studies/power/smoke.yaml", "--set", "gpu=auto", "--set", "values=[300]", "--output",
    ]  # fmt: skip
    for number, (more, words, remedy) in enumerate(
        (
            (["--set-caps"], "its power cap cannot be set: Insufficient Permissions", "knob=load"),
            ([], "nothing is set unless that is asked for", "knob=load"),
            (["--set-caps", "--set", "values=[900]"], "900 W: the cards take 200 to 700 W", "range"),
        )
    ):
        study = tmp_path / f"study{number}"
        process = _start(tmp_path, *arguments, str(study), *more, **variables)
        said = _end(process)
        assert process.returncode == 2 and words in said and remedy in said and "Traceback" not in said, said
        assert study.exists() == (number == 0) and not list(study.glob("trials/*")), "asked under its lock"
    assert _limits(cards) == [650_000, 600_000]
    variables["HARNESS_POWER_CONTROL"] = "forbid"
    process = _start(tmp_path, *arguments, str(tmp_path / "more"), "--set-caps", **variables)
    assert "forbids" in _end(process) and process.returncode == 2
    assert len(json.loads(cards.read_text())["writes"]) == 1  # the one that was refused


@pytest.mark.long
def test_a_cap_under_which_a_server_run_is_invalid_is_never_recommended_by_slo(tmp_path: Path) -> None:
    (tmp_path / "user.conf").write_text(
        "sim.*.use_token_latencies = 1\nsim.Server.ttft_latency = 300\nsim.Server.tpot_latency = 100\n"
        "sim.Server.target_qps = 200\nsim.Server.min_query_count = 700\n"
    )
    (tmp_path / "engine.yaml").write_text(
        "llm_config: {}\nharness_config:\n  benchmark: sim\n  scenario: Server\n"
        "  engine: {kind: simulated, first_token_ms: 200, per_token_ms: 2}\n"
        '  dataset: {kind: synthetic, shape: "100:16:16"}\n  max_tokens: 16\n'
        f"  user_conf: {tmp_path / 'user.conf'}\n"
    )
    study = tmp_path / "study"
    process = _start(
        tmp_path, "-c", "studies/power/smoke.yaml", "--output", str(study), "--objective", "slo",
        "--set", f"inference={tmp_path / 'engine.yaml'}", "--set", "phases=[inference]", "--set", "trials=2",
        "--set", "values=[250, 500, 700]", "--set", "trial_s=4", "--set", "idle_s=0",
    )  # fmt: skip
    said = _end(process)
    assert process.returncode == 0, said
    rows = list(csv.DictReader((study / "inference_stats.csv").read_text().splitlines()))
    verdicts = {(row["max_watt"], row["verdict"]) for row in rows}
    assert verdicts == {("250", "INVALID"), ("500", "VALID"), ("700", "VALID")}
    (recommended,) = [line for line in said.splitlines() if line.startswith("Inference: ")]
    # In windows of four seconds the two that are VALID may not be told apart.
    assert "500 W" in recommended and "250 W" not in recommended


@pytest.mark.long
def test_more_load_costs_less_energy_per_token(tmp_path: Path, smoke: list[str]) -> None:
    study = tmp_path / "study"
    loads = ["--set", "knob=load", "--set", "values=[1, 8, 64]", "--set", "trial_s=3"]
    process = _start(tmp_path, *smoke, *loads)
    said = _end(process)
    assert process.returncode == 0, said
    rows = list(csv.DictReader((study / "inference_stats.csv").read_text().splitlines()))
    energy = {
        float(row["knob_value"]): float(row["window_energy_j"]) / float(row["window_tokens"]) for row in rows
    }
    assert sorted(energy) == [1, 8, 64]
    assert energy[1] > energy[8] > energy[64]
    assert all(row["ttft_p99_ms"] and not row["verdict"] for row in rows)
