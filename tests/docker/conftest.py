"""A daemon with the project's CPU image, for all tests of containers.

HARNESS_DOCKER_KEEP names a folder where a daemon that the tests start keeps its images for the next run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import daemon
import pytest
from host import Host

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
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
        stack.callback(host.remove_containers)
        yield host


@pytest.fixture
def inside(host: Host) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in the submission container by the project's own script."""
    return lambda *command, **extra: host.script("start_submission_env.sh", *command, **extra)
