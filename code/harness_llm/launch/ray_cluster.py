"""Starts replicas on the hosts of a Ray cluster, and everything else on this one.

Ray finds a host with room and starts an agent there (`HostAgent`), which starts the replica as this host
would. Ray carries the spec, signals and the log; what is measured goes over the replica's own sockets.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness_llm
from harness_llm.engines.base import SOCKETS_VARIABLE
from harness_llm.errors import ConfigError, HostError
from harness_llm.launch.launcher import Effort, Launcher
from harness_llm.launch.local import LocalHandle, LocalLauncher, log_size, log_text
from harness_llm.launch.role import Role
from harness_llm.transport.control import HOST_VARIABLE
from harness_llm.transport.leftovers import note_segments, socket_folder

_POLL_S = 0.5
_PLACE_S = 45.0  # below a role's first_word_s, so that this reason comes first
_REACH_S = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class News:
    """How a process is.

    Attributes:
        exit_reason: Why it ended; None while it runs.
        log: What it has written since the last news.
        effort: What it has done.
        stopped: Which of its processes a signal has stopped.
    """

    exit_reason: str | None
    log: bytes
    effort: Effort
    stopped: list[str]


class HostAgent:
    """Starts one process on the host where Ray has put this agent; an actor of Ray.

    What a killed agent leaves behind is removed by the next one on its host, as for commands.
    """

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._folder = self._held.enter_context(socket_folder())
        self._asked = self._read = 0
        self._handle: LocalHandle

    def start(self, host: str, role: Role, name: str, spec: bytes, environment: Mapping[str, str]) -> int:
        """Start it and return its process id; see `Launcher.start`.

        Args:
            host: Address of this host.
            role: What to start.
            name: Its name on the control plane.
            spec: Its spec file.
            environment: Variables added to Ray's.
        """
        path = self._folder / "spec.json"
        path.touch(0o600)  # it holds keys
        path.write_bytes(spec)
        added = {**environment, HOST_VARIABLE: host, SOCKETS_VARIABLE: str(self._folder)}
        self._handle = LocalLauncher().start(role, name, path, self._folder / "log.txt", added)
        return self._handle.process_id

    def news(self) -> News:
        """How it is now."""
        self._asked += 1
        if self._asked.bit_count() == 1:  # ever more rarely: most shared memory is made while it loads
            note_segments(self._folder, self._handle.process_id)
        reason = self._handle.exit_reason()
        if reason is not None:
            self._handle.signal(signal.SIGKILL)  # what it started must end, too
            self._handle.log_text(0)  # waits until the last lines are written
        with self._handle.log.open("rb") as log:
            log.seek(self._read)
            new = log.read()
        self._read += len(new)
        if reason is not None:
            self._held.close()
        return News(reason, new, self._handle.effort(), self._handle.stopped())

    def signal(self, number: int) -> None:
        """Signal the process and everything that it started."""
        self._handle.signal(signal.Signals(number))


@dataclass
class RayHandle:
    """One process on a host of the cluster, as its agent last told.

    Attributes:
        name: Its name on the control plane.
        role: What it is.
        log: File of this host with its stdout and stderr.
        agent: Its agent, an actor.
        room: The placement group that holds its devices.
        host: Address of the host; empty until it is placed.
        process_id: Its number there; 0 until it has started.
        news: The last news.
    """

    name: str
    role: Role
    log: Path
    agent: Any
    room: Any
    host: str = ""
    process_id: int = 0
    news: News = field(default_factory=lambda: News(None, b"", Effort(0, 0), []))
    ended: threading.Event = field(default_factory=threading.Event)

    def exit_reason(self) -> str | None:
        """Why the process ended or was lost, or None while it runs."""
        return self.news.exit_reason

    def log_size(self) -> int:
        """Bytes in its log now."""
        return log_size(self.log)

    def log_text(self, start: int) -> str:
        """Its log from byte `start` on; of a long one the first and the last MiB."""
        return log_text(self.log, start)

    def effort(self) -> Effort:
        """What it had done by the last news."""
        return self.news.effort

    def stopped(self) -> list[str]:
        """Those of its processes that a signal has stopped."""
        return self.news.stopped

    def signal(self, number: signal.Signals) -> None:
        """Signal the process and everything that it started; whether the signal arrives is not waited for."""
        if not self.ended.is_set():
            self.agent.signal.remote(int(number))

    def wait(self, seconds: float) -> bool:
        """Wait for its end up to `seconds`, then free its place; whether it has ended."""
        import ray

        is_over = self.ended.wait(seconds)
        ray.kill(self.agent)
        ray.util.remove_placement_group(self.room)
        return is_over

    def lose(self, reason: str) -> None:
        """Take it for ended."""
        self.news = News(reason, b"", self.news.effort, [])
        self.ended.set()

    def take(self, news: News) -> None:
        """Take in what its agent tells.

        Raises:
            OSError: The log could not be written; everything else is taken in.
        """
        try:
            with self.log.open("ab") as log:
                log.write(news.log)
        finally:  # after the log, which is read for the cause as soon as there is an exit reason
            self.news = news
            if news.exit_reason is not None:
                self.ended.set()


class RayLauncher:
    """Starts children that take devices on the cluster, others by `here`.

    Args:
        here: Starts children on this host.
        remote: Kind of the role whose children go to the cluster.
        room: What Ray sets aside for one of them, by Ray's names: `{"CPU": 1, "GPU": 4}`.
    """

    listens_at = f"${HOST_VARIABLE}"

    def __init__(self, here: Launcher, remote: str, room: Mapping[str, float]) -> None:
        self._here, self._remote, self._room = here, remote, dict(room)
        self._told: dict[Any, RayHandle] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._hear, name="ray", daemon=True)
        self._thread.start()

    def start(self, role: Role, name: str, spec: Path, log: Path, environment: Mapping[str, str]) -> Any:
        """Start a child, see `Launcher.start`; one on the cluster once Ray has found a place for it."""
        if role.kind != self._remote:
            return self._here.start(role, name, spec, log, environment)
        import ray
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        room = placement_group([self._room], strategy="STRICT_PACK")
        agent = (
            ray.remote(HostAgent)
            .options(
                num_cpus=self._room.get("CPU", 0),
                num_gpus=self._room.get("GPU", 0),
                scheduling_strategy=PlacementGroupSchedulingStrategy(room),
            )
            .remote()
        )
        handle = RayHandle(name, role, log, agent, room)
        log.touch()
        threading.Thread(
            target=self._place, args=(handle, spec.read_bytes(), dict(environment)), daemon=True
        ).start()
        return handle

    def strangers(self, role: Role) -> list[int]:
        """Nobody: Ray gives a device to one."""
        return [] if role.kind == self._remote else self._here.strangers(role)

    def close(self) -> None:
        """Hear nothing more."""
        self._closed.set()
        self._thread.join()

    def _place(self, handle: RayHandle, spec: bytes, environment: Mapping[str, str]) -> None:
        import ray

        if not handle.room.wait(_PLACE_S):
            handle.lose(f"could not be placed: no host of the Ray cluster has {_words(self._room)} free")
            return
        try:
            (node,) = ray.util.placement_group_table(handle.room)["bundles_to_node_id"].values()
            handle.host = next(it["NodeManagerAddress"] for it in ray.nodes() if it["NodeID"] == node)
            started = handle.agent.start.remote(handle.host, handle.role, handle.name, spec, environment)
            handle.process_id = ray.get(started)
        except (ray.exceptions.RayError, StopIteration) as error:
            handle.lose(f"could not be started by Ray: {_first_line(error)}")
            return
        with self._lock:
            self._told[handle.agent.news.remote()] = handle

    def _hear(self) -> None:
        import ray

        while not self._closed.is_set():
            with self._lock:
                asked = list(self._told)
            told = ray.wait(asked, num_returns=len(asked), timeout=_POLL_S)[0] if asked else []
            for one in told:
                with self._lock:
                    handle = self._told.pop(one)
                try:
                    handle.take(ray.get(one))
                except ray.exceptions.RayError as error:
                    handle.lose(f"was lost with its host {handle.host}: {_first_line(error)}")
                except OSError as error:  # this host's disk; the run itself sees that
                    _log.warning("%s: %s", handle.log, error)
                if not handle.ended.is_set():
                    with self._lock:
                        self._told[handle.agent.news.remote()] = handle
            time.sleep(_POLL_S)


def _words(room: Mapping[str, float]) -> str:
    return " and ".join(f"{count:g} {name}" for name, count in room.items() if count)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def require_ray() -> None:
    """Refuse to start without Ray.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import ray  # noqa: F401 - only to see whether it is installed
    except ImportError as error:
        message = "harness_config.launcher.kind: Ray is not installed"
        raise ConfigError(message, "bash setup/start_ray.sh installs it.") from error


@contextlib.contextmanager
def ray_launcher(address: str, remote: str, room: Mapping[str, float]) -> Iterator[RayLauncher]:
    """Join a cluster for the length of a `with` block.

    Args:
        address: Of the cluster's head, such as `10.0.0.1:6379`; this host must be one of the cluster's.
        remote: Kind of the role whose children go to the cluster.
        room: What Ray sets aside for one of them.

    Raises:
        ConfigError: Ray is not installed.
        HostError: There is no such cluster, or none of its hosts has that room.
    """
    require_ray()
    # Ray prints to stdout, whatever it is told about logs, when the cluster loses a host.
    with contextlib.redirect_stdout(sys.stderr):
        yield from _joined(address, remote, room)


def _joined(address: str, remote: str, room: Mapping[str, float]) -> Iterator[RayLauncher]:
    import ray

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    package = os.fspath(Path(harness_llm.__file__).parent)
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _REACH_S).close()  # Ray would try for minutes
        ray.init(
            address=address,
            runtime_env={"py_modules": [package]},
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except (OSError, ray.exceptions.RayError, RuntimeError, ValueError) as error:
        raise HostError(
            f"harness_config.launcher: no Ray cluster at {address}: {_first_line(error)}",
            "Start one: bash setup/start_ray.sh; this host must be one of its hosts.",
        ) from error
    for number, handler in handlers.items():  # Ray ends the process at a signal, without our clean-up
        signal.signal(number, handler)
    try:
        hosts = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(host.get(name, 0) >= count for name, count in room.items()) for host in hosts):
            needed = _words(room)
            raise HostError(
                f"no host of the Ray cluster at {address} has {needed}, which a replica takes",
                "Lower harness_config.launcher.cpus or .gpus, or join a host that has it.",
            )
        launcher = RayLauncher(LocalLauncher(), remote, room)
        try:
            yield launcher
        finally:
            launcher.close()
    finally:
        ray.shutdown()
