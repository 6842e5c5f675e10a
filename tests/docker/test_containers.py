"""The project's own Dockerfile and container scripts, against a real daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from host import CONTAINER

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from host import Host

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]


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
