"""What the container scripts say where something is missing: docker is a stand-in, so no daemon is needed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(
    tmp_path: Path, script: str, *, docker: str | None = "exit 0", **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run a script of setup/ with `docker` replaced by a shell script with that body, or absent."""
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("bash", "cat", "chown", "dirname", "env", "id", "mkdir", "sort", "stat", "tail"):
        if not (tools / name).exists():
            found = next(
                folder / name for folder in map(Path, ("/usr/bin", "/bin")) if (folder / name).exists()
            )
            (tools / name).symlink_to(found)
    if docker is not None:
        _stand_in(tools / "docker", docker)
    environment = {"PATH": str(tools), "HARNESS_PLATFORM": "cpu"} | extra
    return subprocess.run(
        ["bash", str(ROOT / "setup" / script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _stand_in(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


def folders(tmp_path: Path) -> dict[str, str]:
    made = {}
    for variable in ("LAB_MODEL", "LAB_DATASET", "LAB_RESULTS"):
        (tmp_path / variable).mkdir()
        made[variable] = str(tmp_path / variable)
    return made


ALL = (
    "build_model_and_dataset_env.sh",
    "build_submission_env.sh",
    "start_model_and_dataset_env.sh",
    "start_submission_env.sh",
)


@pytest.mark.parametrize("script", ALL)
def test_docker_is_not_installed(tmp_path: Path, script: str) -> None:
    done = run(tmp_path, script, docker=None)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the command docker is not there")


@pytest.mark.parametrize("script", ALL)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "no Docker daemon answers"),
        (
            "failed to connect to the docker API at unix:///x: dial unix /x: connect: no such file",
            "no Docker daemon",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket",
            "may not talk to the Docker daemon",
        ),
        ("something else", "docker info failed: something else"),
    ],
)
def test_docker_does_not_answer(tmp_path: Path, script: str, answer: str, expected: str) -> None:
    done = run(tmp_path, script, docker=f'echo "{answer}" >&2; exit 1')
    assert done.returncode == (3 if "something" in answer else 2)
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_platform_is_mistyped(tmp_path: Path) -> None:
    done = run(tmp_path, "build_submission_env.sh", HARNESS_PLATFORM="cude")
    assert done.returncode == 2
    assert "cude" in done.stderr


def test_build_fails(tmp_path: Path) -> None:
    done = run(tmp_path, "build_submission_env.sh", docker='[[ "$1" != build ]]')
    assert done.returncode == 3
    assert "docker build failed" in done.stderr


def test_build_passes_settings_on(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "build_submission_env.sh",
        docker='[[ "$1" != build ]] || echo "$*"',
        BASE_IMAGE="registry.example/python:3.12",
        PIP_INDEX_URL="https://index.example/simple",
    )
    assert done.returncode == 0, done.stderr
    assert "--target cpu --build-arg ONLY=cpu" in done.stdout
    assert "--build-arg BASE_IMAGE --build-arg PIP_INDEX_URL" in done.stdout


def test_rocm_build_starts_from_an_image_with_vllm(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "build_submission_env.sh",
        docker='[[ "$1" != build ]] || echo "$* on $BASE_IMAGE"',
        HARNESS_PLATFORM="rocm",
    )
    assert "--target rocm" in done.stdout
    assert "on vllm/vllm-openai-rocm:v" in done.stdout


def test_image_is_not_built(tmp_path: Path) -> None:
    body = '[[ "$1 $2" != "image inspect" ]]'
    done = run(tmp_path, "start_model_and_dataset_env.sh", docker=body, **folders(tmp_path))
    assert done.returncode == 2
    assert "bash setup/build_model_and_dataset_env.sh" in done.stderr


@pytest.mark.parametrize("missing", ["LAB_MODEL", "LAB_DATASET"])
def test_folder_is_missing(tmp_path: Path, missing: str) -> None:
    made = folders(tmp_path) | {missing: str(tmp_path / "nowhere")}
    done = run(tmp_path, "start_submission_env.sh", **made)
    assert done.returncode == 2
    assert f"{missing}: folder {tmp_path}/nowhere is missing" in done.stderr
    maker = "install -d -o 10001 -g 10001" if os.geteuid() == 0 else "mkdir -p"
    assert f"{maker} {tmp_path}/nowhere" in done.stderr


def test_nvidia_runtime_is_missing(tmp_path: Path) -> None:
    body = """[[ "$*" == *Runtimes* ]] && echo '{"runc":{}}'; exit 0"""
    done = run(tmp_path, "start_submission_env.sh", docker=body, HARNESS_PLATFORM="cuda", **folders(tmp_path))
    assert done.returncode == 2
    assert "Docker has no NVIDIA runtime" in done.stderr
    assert "nvidia-ctk" in done.stderr


_RECORDING = """case "$1 $2" in
"container inspect") exit 1 ;;
"run --detach") echo "$@" >> "$RECORD" ;;
"exec --interactive") echo "$@" >> "$RECORD" ;;
*) [[ "$*" != *Runtimes* ]] || echo '{"nvidia":{},"runc":{}}' ;;
esac"""


def recorded(tmp_path: Path, script: str, **environment: str) -> list[str]:
    """The docker commands by which a script starts a container and runs a command in it."""
    record = tmp_path / "record"
    done = run(tmp_path, script, docker=_RECORDING, RECORD=str(record), **environment, **folders(tmp_path))
    assert done.returncode == 0, done.stderr
    return record.read_text().splitlines()


def test_nvidia_gpus_and_names_are_passed(tmp_path: Path) -> None:
    started, attached = recorded(
        tmp_path,
        "start_submission_env.sh",
        HARNESS_PLATFORM="cuda",
        GPU_NAME="h200",
        LAB_GPUS='"device=0,1"',
        LAB_CONTAINER="second",
    )
    assert "--name second " in started
    assert '--gpus "device=0,1"' in started
    assert "--ulimit memlock=-1" in started
    assert f"--volume {tmp_path}/LAB_MODEL:/model --volume {tmp_path}/LAB_DATASET:/data" in started
    assert f"--volume {tmp_path}/LAB_RESULTS:/lab-mlperf-inference/results" in started
    assert "--env GPU_NAME" in attached
    assert "--env COMPANY" not in attached
    assert attached.endswith(" bash")


def test_folder_that_the_containers_user_may_not_write_to(tmp_path: Path) -> None:
    body = """[[ "$1" != container ]] || exit 1; [[ "$1 $3" != "exec sh" ]] || echo /data"""
    made = folders(tmp_path)
    done = run(tmp_path, "start_model_and_dataset_env.sh", docker=body, **made)
    assert done.returncode == 2
    user = "10001:10001" if os.geteuid() == 0 else f"{os.getuid()}:{os.getgid()}"
    assert f"LAB_DATASET: user {user}" in done.stderr
    assert f"chown -R {user} {made['LAB_DATASET']}" in done.stderr


def test_pips_settings_and_another_hub_are_passed_to_commands(tmp_path: Path) -> None:
    started, attached = recorded(
        tmp_path,
        "start_model_and_dataset_env.sh",
        HF_ENDPOINT="https://hub.example",
        PIP_INDEX_URL="https://index.example/simple",
        HUGGINGFACE_ACCESS_TOKEN="secret",
    )
    assert "--env HUGGINGFACE_ACCESS_TOKEN --env HF_ENDPOINT --env PIP_INDEX_URL" in attached
    assert "secret" not in started + attached, "a process list would show it"


def test_a_folder_for_results_is_made_and_given_to_the_containers_user(tmp_path: Path) -> None:
    made = folders(tmp_path) | {"LAB_RESULTS": str(tmp_path / "new")}
    record = tmp_path / "record"
    done = run(tmp_path, "start_submission_env.sh", docker=_RECORDING, RECORD=str(record), **made)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new").stat().st_uid == (os.geteuid() or 10001)
    assert f"--volume {tmp_path}/new:/lab-mlperf-inference/results" in record.read_text()


@pytest.mark.skipif(os.path.exists("/dev/kfd"), reason="this host has an AMD GPU")  # noqa: PTH110
def test_amd_driver_is_missing(tmp_path: Path) -> None:
    done = run(tmp_path, "start_submission_env.sh", HARNESS_PLATFORM="rocm", **folders(tmp_path))
    assert done.returncode == 2
    assert "/dev/kfd is not there" in done.stderr
