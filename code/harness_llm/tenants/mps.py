"""NVIDIA MPS for one study: how its daemon is asked, what tenants are told, the proof that they use it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from harness_llm.errors import ConfigError, HostError
from harness_llm.fleet.fleet import FleetPlan
from harness_llm.telemetry.visible import VARIABLE, by_uuid
from harness_llm.tenants.tenants_file import Mps, Tenant

CONTROL = "nvidia-cuda-mps-control"
SERVER = "nvidia-cuda-mps-server"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
_DEFAULT_PIPES = "/tmp/nvidia-mps"  # noqa: S108 - the daemon's own default
_PLACES = ("/usr/bin", "/usr/local/nvidia/bin", "/usr/local/cuda/bin", "/opt/nvidia/bin")
_ANSWERS_S = 10.0
WITHOUT = "Measure without MPS: mps: false in the file, or --set mps=false."


def find_control() -> str:
    """The daemon's program.

    Raises:
        ConfigError: It is not on this host.
    """
    path = os.pathsep.join((os.environ.get("PATH", ""), *_PLACES))
    found = shutil.which(CONTROL, path=path)
    if found is None:
        raise ConfigError(
            f"mps: true needs {CONTROL}, which is not on this host",
            f"It comes with NVIDIA's driver, also into a container that shows it. {WITHOUT}",
        )
    return found


def ask(control: str, pipes: Path, command: str, timeout_s: float = _ANSWERS_S) -> list[str]:
    """The words of a daemon's answer to one command.

    Raises:
        HostError: No daemon answers there; in its own words.
    """
    try:
        done = subprocess.run(  # noqa: S603 - NVIDIA's program
            [control], input=f"{command}\n", env={**os.environ, PIPES: str(pipes)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"MPS does not answer {command!r}: {error}", WITHOUT) from error
    if done.returncode:
        raise HostError(f"MPS does not answer {command!r}: {done.stdout.strip()}", WITHOUT)
    return done.stdout.split()


def _numbers(words: Sequence[str]) -> list[int]:
    return [int(word) for word in words if word.isdecimal()]


def servers(control: str, pipes: Path) -> list[int]:
    """Process ids of the daemon's servers; it starts one for the first client."""
    return _numbers(ask(control, pipes, "get_server_list"))


def clients(control: str, pipes: Path) -> set[int]:
    """Process ids of every process that shares the GPU through the daemon."""
    return {
        number
        for server in servers(control, pipes)
        for number in _numbers(ask(control, pipes, f"get_client_list {server}"))
    }


def existing_pipes() -> Path:
    """Where the daemon that runs on this host already is asked."""
    return Path(os.environ.get(PIPES, _DEFAULT_PIPES))


def client_environment(pipes: Path, tenant: Tenant, mps: Mps) -> dict[str, str]:
    """Variables of a tenant's processes, and of nobody else's."""
    share = tenant.active_thread_percentage or mps.default_active_thread_percentage
    return {
        PIPES: str(pipes),
        **({} if share is None else {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(share)}),
        **({} if tenant.memory is None else {"CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": f"0={tenant.memory}"}),
        **({} if tenant.priority == "normal" else {"CUDA_MPS_CLIENT_PRIORITY": "1"}),
    }


def on_uuids(plan: FleetPlan) -> FleetPlan:
    """The same engines with their GPUs named by UUID."""
    replicas = tuple(
        replace(it, environment={**it.environment, VARIABLE: by_uuid(it.environment[VARIABLE])})
        if VARIABLE in it.environment
        else it
        for it in plan.replicas
    )
    return replace(plan, replicas=replicas)


def devices_of(plans: Sequence[FleetPlan]) -> str:
    """The GPUs of all engines, where all are named by UUID; else empty, for numbers may be another's."""
    named = [it.environment.get(VARIABLE, "") for plan in plans for it in plan.replicas]
    devices = dict.fromkeys(device for it in named for device in it.split(","))
    return ",".join(devices) if all(device.startswith("GPU-") for device in devices) else ""


def prove(control: str, pipes: Path, tenants: Mapping[str, Collection[int]]) -> dict[str, list[int]]:
    """By tenant, which of its processes share the GPU through the daemon.

    Args:
        control: The daemon's program.
        pipes: Where it is asked.
        tenants: By name, the process ids of its replicas; what these started counts as well, for an engine
            may do its work in another process.

    Raises:
        HostError: A tenant has none: a CUDA program that does not reach the daemon runs without it and
            says nothing.
    """
    known = clients(control, pipes)
    found = {name: sorted(known & _families(own)) for name, own in tenants.items()}
    if missing := sorted(name for name, own in found.items() if not own):
        raise HostError(
            f"MPS is on, but {', '.join(missing)} {'does' if len(missing) == 1 else 'do'} not use it: "
            f"the daemon's clients are {', '.join(map(str, sorted(known))) or 'none'}",
            f"Its logs may say why, in the folder mps of the study folder. {WITHOUT}",
        )
    return found


def _families(numbers: Collection[int]) -> set[int]:
    family = set(numbers)
    for number in numbers:
        try:
            family |= {child.pid for child in psutil.Process(number).children(recursive=True)}
        except psutil.Error:
            continue
    return family
