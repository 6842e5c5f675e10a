from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness_llm.errors import HostError
from harness_llm.fleet.fleet import FleetPlan, ReplicaPlan
from harness_llm.telemetry.visible import by_uuid
from harness_llm.tenants import mps
from harness_llm.tenants.tenants_file import Mps, Tenant

PIPES = Path("/run/p")
OTHER = 99_999_998  # nobody's process id


def _daemon(tmp_path: Path, script: str) -> str:
    program = tmp_path / mps.CONTROL
    program.write_text(f"#!/bin/sh\nread command\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_a_tenant_is_told_its_own_share_and_limits() -> None:
    plain = Tenant(name="a", model_name="gpt2")
    limited = Tenant(name="b", model_name="gpt2", active_thread_percentage=30, memory="2G", priority="low")
    assert mps.client_environment(PIPES, plain, Mps()) == {"CUDA_MPS_PIPE_DIRECTORY": "/run/p"}
    some = mps.client_environment(PIPES, plain, Mps(default_active_thread_percentage=50))
    assert some["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "50"
    assert mps.client_environment(PIPES, limited, Mps(default_active_thread_percentage=50)) == {
        "CUDA_MPS_PIPE_DIRECTORY": "/run/p", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "30",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=2G", "CUDA_MPS_CLIENT_PRIORITY": "1",
    }  # fmt: skip


def test_each_tenant_must_be_a_client_of_the_daemon(tmp_path: Path) -> None:
    own = os.getpid()
    script = (
        f'case "$command" in get_server_list) echo 7;; "get_client_list 7") echo {own}; echo {OTHER};; esac'
    )
    control = _daemon(tmp_path, script)
    assert mps.prove(control, tmp_path, {"a": [own], "b": [OTHER]}) == {"a": [own], "b": [OTHER]}
    with pytest.raises(HostError, match=f"but b does not use it: the daemon's clients are {own}, {OTHER}"):
        mps.prove(control, tmp_path, {"a": [own], "b": [999_999_999]})


def test_a_daemon_that_does_not_answer_is_said_in_its_own_words(tmp_path: Path) -> None:
    control = _daemon(tmp_path, 'echo "Cannot find MPS control daemon process"; exit 1')
    with pytest.raises(HostError, match="get_server_list.*Cannot find MPS control"):
        mps.servers(control, tmp_path)
    with pytest.raises(HostError, match="does not answer 'x'"):
        mps.ask(_daemon(tmp_path, "sleep 5"), tmp_path, "x", timeout_s=0.2)


def _plan(devices: str | None) -> FleetPlan:
    environment = {"A": "b"} if devices is None else {"A": "b", "CUDA_VISIBLE_DEVICES": devices}
    return FleetPlan("x", (ReplicaPlan("vllm", {}, environment),))


def test_the_daemon_shares_the_gpus_of_its_tenants_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"2": "GPU-c", "3": "GPU-d"}
    monkeypatch.setattr(mps, "by_uuid", lambda names: ",".join(known.get(it, it) for it in names.split(",")))
    plans = [mps.on_uuids(_plan("2")), mps.on_uuids(_plan("2,3"))]
    assert [it.replicas[0].environment for it in plans] == [
        {"A": "b", "CUDA_VISIBLE_DEVICES": "GPU-c"}, {"A": "b", "CUDA_VISIBLE_DEVICES": "GPU-c,GPU-d"},
    ]  # fmt: skip
    assert mps.devices_of(plans) == "GPU-c,GPU-d"
    assert mps.devices_of([mps.on_uuids(_plan("7"))]) == "", "a number means another card to the daemon"
    assert mps.on_uuids(_plan(None)) == _plan(None) and mps.devices_of([_plan(None)]) == ""


def test_gpus_are_named_by_uuid_where_nvml_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoneError(Exception):
        pass

    def handle(index: int) -> str:
        if index > 1:
            raise NoneError
        return "ab"[index]

    library = SimpleNamespace(NVMLError=NoneError, nvmlInit=lambda: None, nvmlDeviceGetHandleByIndex=handle,
                              nvmlDeviceGetUUID=lambda it: f"GPU-{it}")  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert by_uuid("1, 0") == "GPU-b,GPU-a"
    assert [by_uuid(given) for given in ("7", "GPU-x", "")] == ["7", "GPU-x", ""]
