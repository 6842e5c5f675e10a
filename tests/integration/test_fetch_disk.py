"""A disk that is too small, or fills while a download runs; a real one, in memory."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from file_server import BODY, QUICK, Site, md5
from test_fetch_hub import MODEL, WEIGHTS, hub

from harness_llm.errors import HostError
from harness_llm.fetch import http
from harness_llm.fetch import hub as hub_module
from harness_llm.fetch.http import download
from harness_llm.fetch.hub import fetch_hub_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["hub"]  # a fixture

WHOLE = len(BODY)


class Disk:
    """A file system of its own, whose size can be changed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def resize(self, size: int) -> None:
        command = ["mount", "-o", f"remount,size={size}", str(self.root)]
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Half as large as the file that is to come."""
    root = tmp_path / "disk"
    root.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={WHOLE // 2}", "tmpfs", str(root)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system can only be mounted by root")
    yield Disk(root)
    subprocess.run(["umount", str(root)], check=True)


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the free space first, as where somebody else fills the disk meanwhile."""
    monkeypatch.setattr(hub_module, "require_space", lambda *_: None)
    monkeypatch.setattr(http, "require_space", lambda *_: None)


def test_a_model_that_cannot_fit_is_refused_before_it_is_asked_for(hub: Site, disk: Disk) -> None:
    with pytest.raises(HostError, match="are needed") as caught:
        fetch_hub_model(MODEL, disk.root, endpoint=hub.url)
    assert "\n" not in caught.value.message and "LAB_MODEL" in caught.value.remedy
    assert not hub.gets(WEIGHTS)


@pytest.mark.usefixtures("blind")
@pytest.mark.filterwarnings("ignore:Not enough free disk space")  # the hub's client looks too
def test_a_disk_that_fills_under_a_model_is_said_and_the_next_command_ends_it(hub: Site, disk: Disk) -> None:
    with pytest.raises(HostError, match="the disk is full") as caught:
        fetch_hub_model(MODEL, disk.root, endpoint=hub.url)
    assert "\n" not in caught.value.message
    disk.resize(4 * WHOLE)
    assert (fetch_hub_model(MODEL, disk.root, endpoint=hub.url) / "model.safetensors").read_bytes() == BODY


@pytest.mark.usefixtures("blind")
def test_a_disk_that_fills_under_a_file_keeps_what_came(site: Site, disk: Disk) -> None:
    site.files["/file"] = BODY
    destination = disk.root / "file"
    with pytest.raises(HostError, match="the disk is full"):
        download(f"{site.url}/file", destination, md5(BODY), patience=QUICK)
    came = (disk.root / "file.part").stat().st_size
    assert 0 < came < WHOLE
    disk.resize(4 * WHOLE)
    download(f"{site.url}/file", destination, md5(BODY), patience=QUICK)
    assert destination.read_bytes() == BODY
    assert site.gets("/file")[-1] == f"bytes={came}-"
