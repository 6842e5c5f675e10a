"""Start child processes on this host and make sure that they, and theirs, end."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

import harness_llm
from harness_llm.transport.control import PARENT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Child", "child_environment", "end_all", "living", "start_child"]

_SOURCE_ROOT = Path(harness_llm.__file__).parents[1]
_LOG_TAIL_LINES = 6
_KILL_S = 5.0  # SIGKILL takes milliseconds, unless the kernel itself waits

_log = logging.getLogger(__name__)


@dataclass
class Child:
    """One child process, leader of its own process group.

    Attributes:
        name: Its name on the control plane.
        log: File with its stdout and stderr.
        last_heard: Monotonic seconds of its last message; its start, before the first one.
        has_spoken: Whether any message came yet.
        may_end: Whether it has said that its work is done, so that its end is no loss.
        in_flight: Queries unfinished in it, by its last heartbeat.
    """

    name: str
    log: Path
    process: subprocess.Popen[bytes]
    last_heard: float
    has_spoken: bool = False
    may_end: bool = False
    in_flight: int = 0

    def hear(self) -> None:
        """Note that a message came."""
        self.last_heard = time.monotonic()
        self.has_spoken = True

    def exit_reason(self) -> str | None:
        """Why the process ended, or None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def log_tail(self) -> str:
        """The last lines of its log, indented, for an error message."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        except OSError:
            return ""
        return "".join(f"\n    {line[:300]}" for line in lines)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process and everything that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def child_environment(added: Mapping[str, str]) -> dict[str, str]:
    """This process's environment and `added`, with this package on the path of `python -m`."""
    path = os.pathsep.join(filter(None, [str(_SOURCE_ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **added}


def start_child(module: str, name: str, spec: Path, log: Path, environment: Mapping[str, str]) -> Child:
    """Start `python -m module spec` in a process group of its own.

    Args:
        module: Module to run.
        name: The child's name on the control plane.
        spec: Its spec file.
        log: Where stdout and stderr go; appended.
        environment: Variables added to this process's own.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", module, str(spec)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**child_environment(environment), PARENT_VARIABLE: str(os.getpid())},
        )
    return Child(name=name, log=log, process=process, last_heard=time.monotonic())


def living(module: str) -> list[int]:
    """Process ids of everybody's `python -m module` that this process may see."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if ["-m", module] == process.cmdline()[1:3]:
                found.append(process.pid)
    return found


def end_all(children: Iterable[Child], grace_s: float) -> None:
    """End children and whatever they started: SIGTERM, then SIGKILL to each group; waits for them.

    One that is stuck in the kernel, as in a driver or on a lost disk, cannot be ended: the log names it.

    Args:
        children: Already told to stop, where that was possible.
        grace_s: Time to end by themselves, seconds, before SIGTERM, and again before SIGKILL.
    """
    children = list(children)
    for number in (None, signal.SIGTERM):
        if number is not None:
            for child in children:
                if child.process.poll() is None:
                    child.signal_group(number)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and any(child.process.poll() is None for child in children):
            time.sleep(0.05)
    for child in children:
        child.signal_group(signal.SIGKILL)  # also for engine processes whose replica is gone
        try:
            child.process.wait(_KILL_S)
        except subprocess.TimeoutExpired:
            _log.warning("%s (process %d) is stuck in the kernel, lives on", child.name, child.process.pid)
