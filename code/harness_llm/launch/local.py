"""Starts child processes on this host: the only place that touches one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

import harness_llm
from harness_llm import secret_values
from harness_llm.ending import told_exit
from harness_llm.launch.launcher import Effort
from harness_llm.launch.role import Role
from harness_llm.quiet import QUIET
from harness_llm.transport.control import PARENT_VARIABLE
from harness_llm.transport.leftovers import kill_group

_SOURCE_ROOT = Path(harness_llm.__file__).parents[1]
_LOG_BYTES = 1 << 20
_NEXT_LINES_S, _LAST_LINES_S = 0.05, 0.5  # the writer of a log is behind by microseconds
_PIPE_BYTES = 1 << 20


def log_size(path: Path) -> int:
    """See `Handle.log_size`."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def log_text(path: Path, start: int) -> str:
    """See `Handle.log_text`."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            text = file.read(_LOG_BYTES)
            file.seek(max(file.tell(), log_size(path) - _LOG_BYTES))
            return (text + file.read()).decode(errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True)
class LocalHandle:
    """One process of this host, leader of its own process group.

    Attributes:
        name: Its name on the control plane.
        role: What it is.
        log: File with its stdout and stderr.
        process: The process.
        writer: Writes its log where that must be looked through for secrets; else the process does itself.
    """

    name: str
    role: Role
    log: Path
    process: subprocess.Popen[bytes]
    writer: threading.Thread | None = None

    @property
    def host(self) -> str:
        """This one."""
        return ""

    @property
    def process_id(self) -> int:
        """The process's number."""
        return self.process.pid

    def exit_reason(self) -> str | None:
        """Why the process ended, or None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        return told_exit(code)

    def log_size(self) -> int:
        """Bytes in its log now."""
        return log_size(self.log)

    def log_text(self, start: int) -> str:
        """Its log from byte `start` on; of a long one the first and the last MiB."""
        if self.writer is not None:  # a grandchild may keep it waiting
            self.writer.join(_NEXT_LINES_S if self.process.poll() is None else _LAST_LINES_S)
        return log_text(self.log, start)

    def effort(self) -> Effort:
        """What its process group has done so far."""
        cpu_s, io_bytes = 0.0, 0
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                times, counts = process.cpu_times(), process.io_counters()
                cpu_s += times.user + times.system
                io_bytes += counts.read_chars + counts.write_chars
        return Effort(cpu_s, io_bytes)

    def stopped(self) -> list[str]:
        """Those of its processes that a signal has stopped."""
        found = []
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                if process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
                    found.append(f"{process.name()} (process {process.pid})")
        return found

    def _family(self) -> list[psutil.Process]:
        try:
            leader = psutil.Process(self.process.pid)
            return [leader, *leader.children(recursive=True)]
        except psutil.Error:
            return []

    def signal(self, number: signal.Signals) -> None:
        """Signal the process and everything that it started."""
        if number == signal.SIGKILL:
            kill_group(self.process.pid)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait for its end up to `seconds`; whether it has ended."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def _write_masked(process: subprocess.Popen[bytes], log: Path) -> threading.Thread:
    """Write what a process says to its log, without secrets, as long as anybody can say something."""
    assert process.stdout is not None
    pipe = process.stdout
    with contextlib.suppress(OSError):  # room for what it says while this process is held up
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def copy() -> None:
        with pipe, log.open("ab", buffering=0) as output:
            for line in pipe:
                with contextlib.suppress(OSError):  # a full disk must not stop the child
                    output.write(secret_values.masked(line.decode(errors="replace")).encode())

    thread = threading.Thread(target=copy, name=f"log-{process.pid}", daemon=True)
    thread.start()
    return thread


def child_environment(added: Mapping[str, str]) -> dict[str, str]:
    """This process's environment and `added`, with this package on the path of `python -m`."""
    path = os.pathsep.join(filter(None, [str(_SOURCE_ROOT), os.environ.get("PYTHONPATH")]))
    return {**QUIET, **os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **added}


class LocalLauncher:
    """Starts children on this host, each in a process group of its own."""

    listens_at = ""

    def __init__(self) -> None:
        self._own: set[int] = set()

    def start(
        self, role: Role, name: str, spec: Path, log: Path, environment: Mapping[str, str]
    ) -> LocalHandle:
        """Start `python -m role.module spec`; see `Launcher.start`."""
        secret_values.know_environment(environment)
        is_masked = secret_values.any_known()
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", role.module, str(spec)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if is_masked else output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**child_environment(environment), PARENT_VARIABLE: str(os.getpid())},
            )
        self._own.add(process.pid)
        return LocalHandle(name, role, log, process, _write_masked(process, log) if is_masked else None)

    def strangers(self, role: Role) -> list[int]:
        """Process ids of everybody else's `python -m role.module` that this process may see."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if ["-m", role.module] == process.cmdline()[1:3] and process.pid not in self._own:
                    found.append(process.pid)
        return found
