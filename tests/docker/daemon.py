"""A Docker daemon and a base image for the tests, made from nothing where the host has neither.

Works as root on Debian or Ubuntu with no image registry: the daemon has its own socket and data folder and
touches no network settings; the base image is the distribution's own packages.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGES = "ca-certificates,g++,git,libnuma1,procps,python3,python3-dev,python3-pip,python3-venv"
_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
BASE_IMAGE = "local/python:test"
_PORT = 47_321


class NoDaemonError(Exception):
    """Why no daemon can be had here; the reason a test gives for skipping."""


def require(command: str, package: str) -> None:
    """Install a Debian package if its command is missing."""
    if shutil.which(command):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise NoDaemonError(f"{command} is missing and cannot be installed (not root, or no apt-get)")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", package]):
        try:
            subprocess.run(
                ["apt-get", *arguments], env=environment, check=True, capture_output=True, timeout=300
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise NoDaemonError(f"apt-get {' '.join(arguments)} failed: {error}") from error


@contextlib.contextmanager
def running_daemon(folder: Path) -> Iterator[str]:
    """Address of a daemon: the host's, or one started for the tests and ended after them."""
    if _answers(None):
        yield os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        return
    if os.geteuid() != 0:
        raise NoDaemonError("no Docker daemon answers, and only root could start one")
    require("dockerd", "docker.io")
    address = f"unix://{folder}/docker.sock"
    log = folder / "dockerd.log"
    reason = ""
    for driver in ("overlay2", "vfs"):
        command = [
            "dockerd", "--host", address, "--storage-driver", driver, "--data-root", f"{folder}/docker",
            "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "--bridge=none",
            "--iptables=false",
        ]  # fmt: skip
        with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
            try:
                if _comes_up(address, process):
                    yield address
                    return
            finally:
                process.terminate()
                process.wait(60)
                _unmount(folder)
        reason = (log.read_text().strip().splitlines() or ["it printed nothing"])[-1]
    raise NoDaemonError(f"dockerd does not start here: {reason}")


def _unmount(folder: Path) -> None:
    """Release what the daemon left mounted, deepest first, so that its folder can be removed."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((path for path in mounts if path.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)


def _answers(address: str | None) -> bool:
    if not shutil.which("docker"):
        return False
    host = [] if address is None else ["--host", address]
    return subprocess.run(["docker", *host, "info"], capture_output=True, check=False).returncode == 0


def _comes_up(address: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if _answers(address):
            return True
        time.sleep(0.3)
    return False


def make_base_image(address: str, folder: Path) -> str:
    """Import a Debian with Python, made by debootstrap from the host's own package sources; its name."""
    inspect = ["docker", "--host", address, "image", "inspect", BASE_IMAGE]
    if subprocess.run(inspect, capture_output=True, check=False).returncode == 0:
        return BASE_IMAGE
    require("debootstrap", "debootstrap")
    suite, mirror = _debian_sources()
    root = folder / "rootfs"
    command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, str(root), mirror]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=600)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise NoDaemonError(f"debootstrap failed: {error}") from error
    if _BUNDLE.exists():  # a host behind its own certificate authority
        shutil.copyfile(_BUNDLE, root / _BUNDLE.relative_to("/"))
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(
            ["docker", "--host", address, "import", "-", BASE_IMAGE],
            stdin=tar.stdout,
            check=True,
            capture_output=True,
        )
    shutil.rmtree(root)
    return BASE_IMAGE


def _debian_sources() -> tuple[str, str]:
    """Suite and mirror that this host itself installs from."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    suite = release.get("VERSION_CODENAME", "").strip('"')
    if not suite or release.get("ID", "").strip('"') not in {"debian", "ubuntu"}:
        raise NoDaemonError("a base image can only be made on Debian or Ubuntu")
    folders = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    for path in folders:
        if not path.is_file():
            continue
        text = path.read_text()
        found = re.search(rf"^deb\s+(?:\[.*?\]\s+)?(\S+)\s+{suite}\s", text, re.MULTILINE)
        if path.suffix == ".sources" and re.search(rf"^Suites:.*\b{suite}\b(?!-)", text, re.MULTILINE):
            found = re.search(r"^URIs:\s*(\S+)", text, re.MULTILINE)
        if found:
            return suite, found.group(1)
    raise NoDaemonError(f"no package source for {suite} found in /etc/apt")


@contextlib.contextmanager
def pip_settings_for_builds() -> Iterator[dict[str, str]]:
    """The host's pip settings as build arguments; folders of this host are served to the build over HTTP."""
    listing = subprocess.run(
        ["python3", "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, str] = {}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        name = key.rsplit(".", 1)[-1]
        if name in {"cert", "extra-index-url", "find-links", "index-url", "trusted-host"}:
            found[name] = " ".join(value.strip("'\"").replace("\\n", " ").split())
    words = [word for value in found.values() for word in value.split() if word.startswith(("/", "file://"))]
    folders = [folder for word in words if (folder := Path(word.removeprefix("file://"))).is_dir()]
    with _file_server(folders) as origin:
        for name, value in found.items():
            words = [
                origin + word.removeprefix("file://") if Path(word.removeprefix("file://")).is_dir() else word
                for word in value.split()
            ]
            found[name] = " ".join(words)
        yield {f"PIP_{name.upper().replace('-', '_')}": value for name, value in found.items()}


@contextlib.contextmanager
def _file_server(folders: list[Path]) -> Iterator[str]:
    """Serve wheel folders and index folders (with their parents, which hold the files) on the loopback."""
    roots = [str(folder.parent if folder.name == "simple" else folder) for folder in folders]

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **keywords: object) -> None:
            super().__init__(*arguments, directory="/", **keywords)  # type: ignore[arg-type]

        def translate_path(self, path: str) -> str:
            local = str(Path(super().translate_path(path)).resolve())
            allowed = any(local == root or local.startswith(f"{root}/") for root in roots)
            return local if allowed else "/nonexistent"

        def log_message(self, *arguments: object) -> None:
            pass

    try:  # one port each time: its number is part of what Docker's layer cache goes by
        server = http.server.ThreadingHTTPServer(("127.0.0.1", _PORT), Handler)
    except OSError:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
