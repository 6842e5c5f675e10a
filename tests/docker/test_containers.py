"""The project's own Dockerfile and container scripts, against a real daemon.

HARNESS_DOCKER_KEEP names a folder where a daemon that the tests start keeps its images for the next run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import daemon
import docker
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
CONTAINER = "lab-mlperf-inference-submission-"

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]


class Host:
    """A daemon with the CPU image built, and a host's folders; scripts run as a user would run them."""

    def __init__(self, address: str, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self.client = docker.DockerClient(base_url=address)
        self.environment = os.environ | settings | {
            "DOCKER_BUILDKIT": "0",
            "DOCKER_HOST": address,
            "HARNESS_PLATFORM": "cpu",
            "LAB_DATASET": str(folder / "data"),
            "LAB_MODEL": str(folder / "model"),
            "LAB_RESULTS": str(folder / "results"),
        }  # fmt: skip
        for name in ("data", "model"):
            (folder / name).mkdir(mode=0o777)
            (folder / name).chmod(0o777)

    def script(
        self, name: str, *command: str, timeout: float = 120, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(ROOT / "setup" / name), *command],
            env=self.environment | extra,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    kept = os.environ.get("HARNESS_DOCKER_KEEP")
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="harness-docker-", dir="/var/tmp"))
        folder.chmod(0o755)  # the container's user reads folders below it
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            address = stack.enter_context(daemon.running_daemon(Path(kept) if kept else folder))
            settings = stack.enter_context(daemon.pip_settings_for_builds())
            base = os.environ.get("BASE_IMAGE") or daemon.make_base_image(address, folder)
        except daemon.NoDaemonError as error:
            pytest.skip(f"no container is tested here: {error}")
        host = Host(address, folder, settings | {"BASE_IMAGE": base})
        stack.callback(host.client.close)
        built = host.script("build_submission_env.sh", timeout=1500)
        assert built.returncode == 0, f"{built.stdout[-4000:]}\n{built.stderr[-4000:]}"
        stack.callback(_remove_containers, host.client)
        yield host


def _remove_containers(client: docker.DockerClient) -> None:
    for container in client.containers.list(all=True, filters={"name": CONTAINER}):
        container.remove(force=True)


@pytest.fixture
def inside(host: Host) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in the submission container by the project's own script."""
    return lambda *command, **extra: host.script("start_submission_env.sh", *command, **extra)


def test_image_is_not_root_and_has_a_health_check(host: Host) -> None:
    config = host.client.images.get("lab-mlperf-inference/submission:cpu").attrs["Config"]
    assert config["User"] == "10001"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["WorkingDir"] == "/lab-mlperf-inference"
    assert not config["Entrypoint"]


def test_source_is_the_last_layer_with_content(host: Host) -> None:
    history = host.client.images.get("lab-mlperf-inference/submission:cpu").history()
    newest = next(layer for layer in history if layer["Size"] > 0)
    assert "COPY" in newest["CreatedBy"]


def test_harness_runs_inside_as_an_ordinary_user(
    inside: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    helped = inside("harness-llm", "--help")
    assert helped.returncode == 0, helped.stderr
    assert "run" in helped.stdout
    imported = inside(
        "python", "-c", "import mlperf_loadgen, torch, vllm, os; print(os.getuid(), vllm.__version__)"
    )
    assert imported.returncode == 0, imported.stderr
    uid, version = imported.stdout.split()[-2:]
    assert int(uid) != 0
    assert version == "0.32.0+cpu" or version.startswith("0.32.0")


def test_what_is_written_to_results_appears_on_the_host(
    host: Host, inside: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    command = """echo "$COMPANY,$SYSTEM_NAME,$GPU_NAME" >results/names.txt && mkdir "$LAB_SUBMISSION" """
    done = inside("bash", "-c", command, COMPANY="A company", SYSTEM_NAME="1x", GPU_NAME="cpu")
    assert done.returncode == 0, done.stderr
    assert (host.folder / "results" / "names.txt").read_text() == "A company,1x,cpu\n"
    assert (host.folder / "results" / "submission").is_dir()


def test_model_and_data_are_where_the_configurations_look(
    host: Host, inside: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (host.folder / "model" / "weights").write_text("w")
    (host.folder / "data" / "samples").write_text("d")
    assert inside("cat", "/model/weights", "/data/samples").stdout == "wd"


def test_second_start_attaches_and_the_exit_status_comes_through(
    host: Host, inside: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    inside("true")
    before = [container.id for container in host.client.containers.list(filters={"name": CONTAINER})]
    again = inside("bash", "-c", "exit 7")
    assert again.returncode == 7
    assert "attaching" in again.stderr
    assert [container.id for container in host.client.containers.list(filters={"name": CONTAINER})] == before


def test_stopped_container_is_started_again(
    host: Host, inside: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    inside("true")
    host.client.containers.list(filters={"name": CONTAINER})[0].stop(timeout=1)
    again = inside("true")
    assert again.returncode == 0
    assert "again" in again.stderr


def test_other_folders_are_refused_while_a_container_has_the_old_ones(
    host: Host, inside: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    inside("true")
    refused = inside("true", LAB_MODEL=str(tmp_path))
    assert refused.returncode == 2
    assert "docker rm --force" in refused.stderr


def test_limits_suit_vllm(host: Host, inside: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    inside("true")
    options = host.client.containers.list(filters={"name": CONTAINER})[0].attrs["HostConfig"]
    assert options["ShmSize"] == 16 << 30
    assert {"stack"} == {limit["Name"] for limit in options["Ulimits"]}
    assert options["Init"] is True


def test_environment_inside_is_taken_as_set_up(
    inside: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """The submission scripts call prepare_environment; inside, it must find everything and write nothing."""
    command = ". setup/environment.sh && prepare_environment && command -v python"
    done = inside("bash", "-c", command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "/opt/venv/bin/python"
    assert "setup:" not in done.stderr
