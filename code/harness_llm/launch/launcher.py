"""The seam between those who need a process and whatever starts it: this host, or a cluster's."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness_llm import ending
from harness_llm.launch.role import Role

_POLL_S = 0.05
_KILL_S = 5.0  # SIGKILL takes milliseconds, unless the kernel itself waits

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Effort:
    """What processes have done since they started.

    Attributes:
        cpu_s: Time of the CPU, seconds.
        io_bytes: Bytes read and written, from and to anything but the network.
    """

    cpu_s: float
    io_bytes: int


class Handle(Protocol):
    """One process that was started, and whatever it started itself."""

    @property
    def name(self) -> str:
        """Its name on the control plane."""

    @property
    def role(self) -> Role:
        """What it is."""

    @property
    def log(self) -> Path:
        """File with its stdout and stderr."""

    @property
    def host(self) -> str:
        """Address of another host that it runs on; empty for this one."""

    @property
    def process_id(self) -> int:
        """Its number on the host that it runs on."""

    def exit_reason(self) -> str | None:
        """Why the process ended, or None while it runs."""

    def log_size(self) -> int:
        """Bytes in its log now; 0 where it cannot be read."""

    def log_text(self, start: int) -> str:
        """Its log from byte `start` on; of a long one the first and the last MiB."""

    def effort(self) -> Effort | None:
        """What it, and all that it started, has done so far; None where that is not known."""

    def stopped(self) -> list[str]:
        """Those of them that a signal has stopped: `python (process 4711)`."""

    def signal(self, number: signal.Signals) -> None:
        """Signal the process and everything that it started; one that is gone is no error."""

    def wait(self, seconds: float) -> bool:
        """Wait for its end up to `seconds`; whether it has ended."""


class Launcher(Protocol):
    """Starts processes.

    Attributes:
        listens_at: Where its replicas listen for TCP, as an address or `$NAME` of a variable of theirs; empty
            for the command's own interface.
    """

    listens_at: str

    def start(self, role: Role, name: str, spec: Path, log: Path, environment: Mapping[str, str]) -> Handle:
        """Start `python -m role.module spec`, with a group of its own to signal.

        Args:
            role: What to start.
            name: The child's name on the control plane.
            spec: Its spec file.
            log: Where stdout and stderr go; appended.
            environment: Variables added to this process's own.
        """

    def strangers(self, role: Role) -> list[int]:
        """Process ids of children of this role that others started where this launcher starts its own."""


def end_all(handles: Iterable[Handle], grace_s: float) -> None:
    """End processes and whatever they started: SIGTERM, then SIGKILL to each group; waits for them.

    One that is stuck in the kernel, as in a driver or on a lost disk, cannot be ended: the log names it.

    Args:
        handles: Already told to stop, where that was possible.
        grace_s: Time to end by themselves, seconds, before SIGTERM, and again before SIGKILL.
    """
    handles = list(handles)
    for number in (None, signal.SIGTERM):
        if number is not None:
            for handle in handles:
                if handle.exit_reason() is None:
                    handle.signal(number)
        deadline = time.monotonic() + grace_s
        while (
            time.monotonic() < deadline
            and not ending.is_hurried()
            and any(handle.exit_reason() is None for handle in handles)
        ):
            time.sleep(_POLL_S)
    for handle in handles:
        handle.signal(signal.SIGKILL)  # also for engine processes whose replica is gone
        if not handle.wait(_KILL_S):
            where = f" on {handle.host}" if handle.host else ""
            process = f"{handle.name} (process {handle.process_id}{where})"
            _log.warning("%s is stuck in the kernel and still runs", process)
