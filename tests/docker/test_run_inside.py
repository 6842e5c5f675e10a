"""A whole submission inside the container: real LoadGen, real vLLM, few samples; it all lands on the host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from host import CONTAINER, ROOT

from harness_llm.core import EventStatus
from harness_llm.logs.detail import DetailLog
from harness_llm.results.events import read_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host import Host

pytestmark = [pytest.mark.docker, pytest.mark.vllm, pytest.mark.timeout(1800)]

SAMPLES = 6
QUERIES = 8
USER_CONF = f"""\
smollm2-135m.*.use_token_latencies = 1
smollm2-135m.Server.ttft_latency = 60000
smollm2-135m.Server.tpot_latency = 60000
smollm2-135m.Server.target_qps = 4
smollm2-135m.Server.min_duration = 1
smollm2-135m.Server.min_query_count = {QUERIES}
smollm2-135m.Offline.target_qps = 1
smollm2-135m.Offline.min_duration = 1
smollm2-135m.Offline.min_query_count = {SAMPLES}
"""
# The reference is for all samples, and for longer answers.
SHORT = {
    "harness_config.user_conf": "/data/short.conf",
    "harness_config.dataset.samples": SAMPLES,
    "harness_config.max_tokens": 8,
    "harness_config.reference": "null",
    "harness_config.measured_rate": "null",  # or a test of so few queries is asked again with more
}


def _give(name: str, variable: str, folder: Path) -> None:
    """Copy a model or data set that this host has into a folder that is mounted, for everybody to read."""
    source = Path(os.environ.get(variable, "/nonexistent")) / name
    if not (source / "fetched.json").is_file():
        pytest.skip(f"{source} is not there: bash tests/run.sh gets it, or set {variable}")
    (folder / name).mkdir()
    for path in source.iterdir():
        shutil.copyfile(path, folder / name / path.name)
        (folder / name / path.name).chmod(0o644)


@pytest.fixture(scope="module")
def run(host: Host) -> Iterator[Path]:
    """The run folder, on the host, that one command in the container left."""
    _give("smollm2-135m-instruct", "LAB_MODEL", host.folder / "model")
    _give("humaneval", "LAB_DATASET", host.folder / "data")
    (host.folder / "data" / "short.conf").write_text(USER_CONF)
    settings = [part for key, value in SHORT.items() for part in ("--set", f"{key}={value}")]
    names = {"COMPANY": "Somebody", "SYSTEM_NAME": "aContainer", "GPU_NAME": "cpu"}
    done = host.script(
        "start_submission_env.sh", "bash", "submission/smollm2_135m.sh", *settings, timeout=1200, **names
    )
    said = f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    assert done.returncode in (0, 1), said  # so few queries are INVALID, by LoadGen's own rules
    assert "Traceback" not in said
    found = list((host.folder / "results").glob("smollm2-135m_*"))
    assert len(found) == 1, said
    yield found[0]
    shutil.rmtree(host.folder / "results" / "submission", ignore_errors=True)


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_run_is_complete_and_was_measured_by_vllm_and_loadgen(run: Path) -> None:
    record = _json(run / "run.json")
    assert (record["state"], record["simulated"], record["official"]) == ("complete", False, False)
    assert record["tests"] == [
        f"{scenario}/{mode}" for scenario in ("Offline", "Server") for mode in ("performance", "accuracy")
    ]
    assert _json(run / "replicas/Offline-Server/0/facts.json")["name"] == "vllm"
    if (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
        head = subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
        assert record["git"]["commit"] == head, "a run inside the container names its commit"


@pytest.mark.parametrize(("scenario", "least"), [("Offline", SAMPLES), ("Server", QUERIES)])
def test_every_query_was_answered_and_scored(run: Path, scenario: str, least: int) -> None:
    events = read_events(run / scenario / "performance" / "events.npy")
    assert len(events) >= least
    assert (events["status"] == EventStatus.FINISHED).all()
    assert ((events["tokens"] >= 2) & (events["tokens"] <= 8)).all()
    log = DetailLog.read(run / scenario / "performance" / "mlperf_log_detail.txt")
    assert not log.error_lines
    accuracy = _json(run / scenario / "accuracy" / "accuracy.json")
    assert accuracy["samples"] == SAMPLES
    assert accuracy["scores"]["rouge1"] > 0


@pytest.mark.parametrize("scenario", ["Offline", "Server"])
def test_the_submission_tree_is_on_the_host_too(host: Host, run: Path, scenario: str) -> None:
    (tree,) = (host.folder / "results" / "submission").glob("inference_results_*/open/Somebody")
    assert (tree / "systems" / "aContainer.json").is_file()
    packaged = tree / "results" / "aContainer" / "smollm2-135m" / scenario / "performance" / "run_1"
    name = "mlperf_log_summary.txt"
    assert (packaged / name).read_bytes() == (run / scenario / "performance" / name).read_bytes() != b""


def test_all_of_it_belongs_to_an_ordinary_user_and_can_be_read_and_removed_here(
    host: Host, run: Path
) -> None:
    results = host.folder / "results"
    found = [results, *results.rglob("*")]
    assert len(found) > 50
    assert {path.stat().st_uid for path in found} == {host.user}
    assert host.user != 0
    assert not [path for path in found if not os.access(path, os.R_OK | os.W_OK)]
    copy = run.with_name("moved")
    run.rename(copy)
    copy.rename(run)


def test_no_process_of_the_run_is_left_inside(host: Host, run: Path) -> None:
    (container,) = host.client.containers.list(filters={"name": CONTAINER})
    commands = [process[-1] for process in container.top(ps_args="-eww -o pid,args")["Processes"]]
    assert commands, run
    assert not [command for command in commands if "sleep infinity" not in command]
