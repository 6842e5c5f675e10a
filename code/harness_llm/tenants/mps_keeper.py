"""Keeps the MPS daemon of one study: starts it, and ends it however the study ends, kill -9 included.

Started as `python -m harness_llm.tenants.mps_keeper SPEC`, in a process group of its own, to which the daemon
belongs.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import psutil
import zmq

from harness_llm.errors import HostError
from harness_llm.launch.role import Role
from harness_llm.telemetry.visible import VARIABLE
from harness_llm.tenants.mps import CONTROL, LOGS, PIPES, SERVER, WITHOUT, ask, servers
from harness_llm.transport.control import PARENT_VARIABLE, ControlClient
from harness_llm.transport.keys import Keys
from harness_llm.transport.spec import read_spec
from harness_llm.transport.wire import Done, Heartbeat, Stage

ROLE = Role("mps", "harness_llm.tenants.mps_keeper", started="word", silence_s=15.0, grace_s=20.0)
UP = "MPS is up"
DAEMON_LOG = "daemon.log"
_LOOK_S, _STARTS_S, _ENDS_S = 0.2, 15.0, 5.0
_CLIENTS_END_S = 2.0  # replicas look for their study twice a second
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class KeeperSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the keeper is told.

    Attributes:
        name: Its name on the control plane.
        control: Where the supervisor listens.
        program: The daemon's program.
        pipes: The daemon's folder of sockets, which the keeper removes.
        logs: Folder of the daemon's logs.
        devices: The GPUs that it shares, by UUID; empty: all of the host.
        keys: What it shows the supervisor; None on Unix sockets.
    """

    name: str
    control: str
    program: str
    pipes: str
    logs: str
    devices: str = ""
    keys: Keys | None = None


class Daemon:
    """The daemon, in the foreground, so that it is a child like any other.

    Args:
        spec: What to start.

    Raises:
        HostError: It does not come up; in its own words.
    """

    def __init__(self, spec: KeeperSpec) -> None:
        self._program, self._pipes, self._logs = spec.program, Path(spec.pipes), Path(spec.logs)
        # Its server takes a context on each GPU that it sees, whoever works there. Clients that count the
        # GPUs that they see would count otherwise than it does; UUIDs are the same for both.
        environment = {name: it for name, it in os.environ.items() if name != VARIABLE}
        environment |= {PIPES: spec.pipes, LOGS: spec.logs}
        environment |= {VARIABLE: spec.devices} if spec.devices else {}
        with (self._logs / DAEMON_LOG).open("ab") as log:  # in the foreground it logs nowhere else
            self.process = subprocess.Popen(  # noqa: S603 - NVIDIA's program
                [self._program, "-f"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=lambda: ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL),  # noqa: PLW1509
            )  # fmt: skip

    def wait_until_up(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + _STARTS_S
        while True:
            if self.process.poll() is not None:
                raise HostError(f"{CONTROL} ended at once: {self._words()}", WITHOUT)
            try:
                servers(self._program, self._pipes)
            except HostError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_S)
            else:
                return

    def _words(self) -> str:
        log = self._logs / DAEMON_LOG
        text = log.read_text(errors="replace").strip() if log.exists() else ""
        return text[-500:] or f"exit code {self.process.returncode}, and its log is empty"

    def end(self) -> list[int]:
        """Ask it to quit, end what is left, remove its sockets; servers that still live."""
        own = _servers_of(str(self._pipes))
        try:
            ask(self._program, self._pipes, "quit", _ENDS_S)
            self.process.wait(_ENDS_S)
        except (HostError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait(_ENDS_S)
        for process in psutil.wait_procs(own, _ENDS_S)[1]:
            process.kill()
        left = [process.pid for process in psutil.wait_procs(own, _ENDS_S)[1]]
        shutil.rmtree(self._pipes, ignore_errors=True)
        return left


def _servers_of(pipes: str) -> list[psutil.Process]:
    """Servers of the daemon with these sockets; they may have left its group, and it may not answer."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_server = any(Path(word).name == SERVER for word in process.cmdline())
            if is_server and process.environ().get(PIPES) == pipes:
                found.append(process)
    return found


def main() -> None:
    """Keep the daemon until the process that started this one says so, or is gone."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    spec = read_spec(KeeperSpec, Path(sys.argv[1]))
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: over.set())
    parent = int(os.environ.get(PARENT_VARIABLE) or os.getppid())
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with ControlClient(context, spec.control, spec.name, Heartbeat, over.set, keys=spec.keys) as control:
        daemon = Daemon(spec)
        try:
            daemon.wait_until_up()
            control.send(Stage(UP))
            while not over.wait(_LOOK_S) and os.getppid() == parent and daemon.process.poll() is None:
                pass
            if daemon.process.poll() is not None:
                raise HostError(f"{CONTROL} ended while it was needed: exit {daemon.process.returncode}")
            if os.getppid() != parent:
                time.sleep(_CLIENTS_END_S)
        except HostError as error:
            control.fail(error)
        finally:
            left = daemon.end()
        if left:
            control.fail(HostError(f"MPS servers cannot be ended: {', '.join(map(str, left))}"))
        control.send(Done({}))
    context.destroy(linger=0)


if __name__ == "__main__":
    main()
