from __future__ import annotations

import os
import resource
import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness_llm.config.harness import RunConfig
from harness_llm.engines import vllm_arguments
from harness_llm.errors import ConfigError, HostError
from harness_llm.launch import placement
from harness_llm.launch.open_files import require_open_files
from harness_llm.launch.placement import launcher_of, replica_environments, split_devices
from harness_llm.launch.role import Role
from harness_llm.system import accelerators


def _config(llm: dict[str, Any] | None = None, **harness: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "llm_config": {"model": "/m", **(llm or {})},
            "harness_config": {
                "benchmark": "b",
                "scenario": "Offline",
                "dataset": {"kind": "synthetic", "shape": "1:1:2"},
                "max_tokens": 2,
                **harness,
            },
        }
    )


def _host(monkeypatch: pytest.MonkeyPatch, vendor: str, count: int, **environment: str) -> None:
    found = SimpleNamespace(accelerators=tuple(SimpleNamespace(vendor=vendor) for _ in range(count)))
    monkeypatch.setattr(accelerators, "read", lambda: found)
    monkeypatch.setattr(vllm_arguments, "is_built_for_cpus", lambda: False)
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def _visible(config: RunConfig, variable: str = "CUDA_VISIBLE_DEVICES") -> list[str]:
    return [environment[variable] for environment in replica_environments(config)]


@pytest.mark.parametrize(
    ("devices", "size", "replicas", "groups"),
    [
        (8, 1, None, ["0", "1", "2", "3", "4", "5", "6", "7"]),
        (8, 4, None, ["0123", "4567"]),
        (8, 2, 3, ["01", "23", "45"]),
        (8, 8, 1, ["01234567"]),
        (7, 2, None, ["01", "23", "45"]),
    ],
)
def test_devices_are_split_into_consecutive_groups(
    devices: int, size: int, replicas: int | None, groups: list[str]
) -> None:
    names = [str(number) for number in range(devices)]
    assert split_devices(names, size, replicas) == [list(group) for group in groups]


@pytest.mark.parametrize(("devices", "size", "replicas"), [(8, 16, None), (8, 4, 3), (0, 1, None), (1, 1, 2)])
def test_too_few_devices_are_an_error_that_counts(devices: int, size: int, replicas: int | None) -> None:
    with pytest.raises(ConfigError, match=f"needs? {size * (replicas or 1)}, this host shows {devices}"):
        split_devices([str(number) for number in range(devices)], size, replicas)


@pytest.mark.parametrize(
    ("replicas", "said"), [(None, "1 replica of 2 devices needs 2"), (3, "3 replicas of 2 devices need 6")]
)
def test_too_few_devices_are_counted_in_english(replicas: int | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        split_devices(["0"], 2, replicas)


@pytest.mark.parametrize(("replicas", "said"), [(1, "1 replica needs 72"), (2, "2 replicas need 80")])
def test_too_few_open_files_are_counted_in_english(
    replicas: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(HostError, match=f"may open 64 files, {said}"):
        require_open_files(replicas)


def test_replicas_of_a_small_model_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    _host(monkeypatch, "NVIDIA", 2)
    three = _config(engine={"replicas_per_device": 3})
    assert _visible(three) == list("000111")
    assert _visible(_config(engine={"replicas_per_device": 3}, replicas=4)) == list("0001")
    cluster = {"kind": "ray", "address": "1.2.3.4:6379"}
    with pytest.raises(ConfigError, match="on a cluster, Ray assigns the devices"):
        replica_environments(
            _config(engine={"replicas_per_device": 3}, launcher=cluster, interface="1.2.3.4", replicas=2)
        )
    _host(monkeypatch, "NVIDIA", 0)
    with pytest.raises(ConfigError, match="asks for 1/3 of a device per replica, this host has no GPU"):
        replica_environments(three)


def test_a_replica_gets_as_many_gpus_as_its_engine_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    _host(monkeypatch, "NVIDIA", 8)
    assert _visible(_config()) == list("01234567")
    assert _visible(_config({"tensor_parallel_size": 2, "pipeline_parallel_size": 2})) == [
        "0,1,2,3",
        "4,5,6,7",
    ]
    four = {"tensor_parallel_size": 4}
    assert _visible(_config(four, engine={"devices_per_replica": 8})) == ["0,1,2,3,4,5,6,7"]
    with pytest.raises(ConfigError, match="engine gives a replica 2 devices, its engine needs 4"):
        replica_environments(_config(four, engine={"devices_per_replica": 2}))
    assert _visible(_config({"tensor_parallel_size": None}, replicas=2)) == ["0", "1"]


def test_only_visible_gpus_are_used_by_the_name_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    _host(monkeypatch, "NVIDIA", 8, CUDA_VISIBLE_DEVICES="GPU-aa, 5,")
    assert _visible(_config()) == ["GPU-aa", "5"]
    _host(monkeypatch, "AMD", 4, HIP_VISIBLE_DEVICES="3,1")
    assert _visible(_config(), "HIP_VISIBLE_DEVICES") == ["3", "1"]
    _host(monkeypatch, "NVIDIA", 8, CUDA_VISIBLE_DEVICES="")
    with pytest.raises(ConfigError, match="shows 0: none"):
        replica_environments(_config())


def test_what_a_hosts_gpus_need_to_be_used_is_asked_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = _config({"attention_backend": "FLASHINFER"}, engine_env={"CUDA_HOME": "/no/such/toolkit"})
    monkeypatch.setattr("harness_llm.engines.cuda_compiler.packages", lambda: None)
    _host(monkeypatch, "NVIDIA", 1)
    with pytest.raises(ConfigError, match=r"no CUDA compiler \(nvcc\) in /no/such/toolkit"):
        replica_environments(asked)
    _host(monkeypatch, "NVIDIA", 0)
    assert len(replica_environments(asked)) == 1, "an engine on CPUs compiles nothing"


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ("0,9", "has no device 9"),
        ("-1", "has no device -1"),
        ("all", "has no device all"),
        ("1,0,1", "device 1 is listed twice"),
        ("GPU-a,GPU-a", "device GPU-a is listed twice"),
    ],
)
def test_a_device_that_is_not_there_or_stands_there_twice_is_refused(
    monkeypatch: pytest.MonkeyPatch, chosen: str, said: str
) -> None:
    _host(monkeypatch, "NVIDIA", 4, CUDA_VISIBLE_DEVICES=chosen)
    with pytest.raises(ConfigError, match=f"CUDA_VISIBLE_DEVICES is '{chosen}': .*{said}"):
        replica_environments(_config())


@pytest.mark.parametrize(
    ("vendor", "name", "engine", "is_refused"),
    [
        ("NVIDIA", "CUDA_VISIBLE_DEVICES", "vllm", True),
        ("AMD", "HIP_VISIBLE_DEVICES", "vllm", True),
        ("", "CUDA_VISIBLE_DEVICES", "vllm", False),
        ("NVIDIA", "CUDA_VISIBLE_DEVICES", "simulated", False),
        ("", "HARNESS_LLM_PARENT", "simulated", True),
        ("", "HARNESS_LLM_SOCKETS", "vllm", True),
    ],
)
def test_a_variable_that_the_harness_sets_for_a_replica_is_not_the_users(
    monkeypatch: pytest.MonkeyPatch, vendor: str, name: str, engine: str, is_refused: bool
) -> None:
    _host(monkeypatch, vendor, 4 if vendor else 0)
    config = _config(engine=engine, engine_env={name: "2"})
    if is_refused:
        with pytest.raises(ConfigError, match=f"engine_env.{name}: each replica has its own"):
            replica_environments(config)
    else:
        assert replica_environments(config)[0][name] == "2"


def test_without_gpus_replicas_share_the_cores_out(monkeypatch: pytest.MonkeyPatch) -> None:
    _host(monkeypatch, "", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 4, 6, 8})
    bound = [
        environment.get("VLLM_CPU_OMP_THREADS_BIND")
        for environment in replica_environments(_config(replicas=2))
    ]
    assert bound == ["0,2", "4,6"]
    assert "VLLM_CPU_OMP_THREADS_BIND" not in replica_environments(_config())[0]
    assert all(each["OMP_WAIT_POLICY"] == "PASSIVE" for each in replica_environments(_config(replicas=2)))
    with pytest.raises(ConfigError, match="6 replicas on 5 cores"):
        replica_environments(_config(replicas=6))


def test_what_the_user_sets_wins_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    _host(monkeypatch, "", 0)
    own = {"HF_HUB_OFFLINE": "0", "VLLM_CPU_OMP_THREADS_BIND": "9", "OMP_WAIT_POLICY": "ACTIVE", "X": "y"}
    for environment in replica_environments(_config(replicas=2, engine_env=own)):
        assert environment.items() >= own.items()
        assert environment["VLLM_NO_USAGE_STATS"] == "1"


def test_the_simulated_engine_needs_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "read", lambda: pytest.fail("looked for devices"))
    assert len(replica_environments(_config(engine="simulated", replicas=7))) == 7
    assert len(replica_environments(_config(engine="simulated"))) == 1


def test_a_vllm_built_for_cpus_leaves_the_gpus_of_its_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _host(monkeypatch, "NVIDIA", 4)
    assert len(replica_environments(_config())) == 4
    monkeypatch.setattr(vllm_arguments, "is_built_for_cpus", lambda: True)
    (environment,) = replica_environments(_config())
    assert "CUDA_VISIBLE_DEVICES" not in environment


@pytest.mark.parametrize(("for_cpus", "gpus"), [(False, 2), (True, 0)])
def test_of_a_cluster_only_an_engine_that_takes_gpus_asks_for_them(
    monkeypatch: pytest.MonkeyPatch, for_cpus: bool, gpus: int
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(vllm_arguments, "is_built_for_cpus", lambda: for_cpus)
    monkeypatch.setattr(placement, "ray_launcher", lambda *given: nullcontext(asked.append(given[-1])))
    role = Role("replica", "m", started="at once", first_word_s=None, silence_s=None)
    cluster = {
        "launcher": {"kind": "ray", "address": "10.0.0.1:6379"},
        "interface": "10.0.0.1",
        "replicas": 1,
    }
    with launcher_of([_config({"tensor_parallel_size": 2}, **cluster)], role):
        assert asked == [{"CPU": 1, "GPU": gpus}]


def test_on_a_cluster_what_its_replicas_cannot_do_with_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(gpus: int | None, **environment: str) -> list[dict[str, str]]:
        launcher = {"kind": "ray", "address": "10.0.0.1:6379", "gpus": gpus}
        asked = {"launcher": launcher, "interface": "10.0.0.1", "replicas": 2, "engine_env": environment}
        return replica_environments(_config({"tensor_parallel_size": 4}, **asked))

    _host(monkeypatch, "", 0)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="Ray is not installed"):
        planned(4)
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    assert [len(planned(gpus)) for gpus in (None, 0, 4, 8)] == [2] * 4, "0: hosts without GPUs"
    with pytest.raises(ConfigError, match="launcher.gpus gives a replica 1 devices, its engine needs 4"):
        planned(1)
    with pytest.raises(ConfigError, match="engine_env.CUDA_VISIBLE_DEVICES: each replica has its own"):
        planned(4, CUDA_VISIBLE_DEVICES="1")
