"""A host of containers: a daemon with the project's CPU image, and folders for models, data and results."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import docker

ROOT = Path(__file__).parents[2]
CONTAINER = f"harness-test-{os.getpid()}"  # not the name that a user's own container has


class Host:
    """A daemon with the CPU image built, and a host's folders; scripts run as a user would run them."""

    def __init__(self, address: str, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self.client = docker.DockerClient(base_url=address)
        self.environment = os.environ | settings | {
            "DOCKER_BUILDKIT": "0",
            "DOCKER_HOST": address,
            "HARNESS_PLATFORM": "cpu",
            "LAB_CONTAINER": CONTAINER,
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

    @property
    def user(self) -> int:
        """Who a container runs as: whoever starts it, or the image's user where that is root."""
        return os.getuid() or 10001

    def remove_containers(self) -> None:
        for container in self.client.containers.list(all=True, filters={"name": CONTAINER}):
            container.remove(force=True)
