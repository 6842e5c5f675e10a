"""Runs the real command line for the table of faults, in a folder of its own, and looks what is left."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml
from left_behind import Host
from marked import MARK, marked_processes

from fault_kinds.fault import Seen
from harness_llm.files import read_text
from harness_llm.results.events import read_events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REPLICA, LOADGEN = "harness_llm.replica.process", "harness_llm.loadgen.process"
CONF = """\
sim.*.use_token_latencies = 1
sim.Offline.target_qps = 300
sim.Offline.min_duration = 1000
sim.Server.ttft_latency = 1000
sim.Server.tpot_latency = 100
sim.Server.target_qps = 100
sim.Server.min_duration = 120000
sim.Server.min_query_count = 500
sim.Server.sample_concatenate_permutation = 1
"""
_HOLDS = f"""\
import sys
if {REPLICA!r} in sys.orig_argv:
    import multiprocessing, os, socket
    from multiprocessing.shared_memory import SharedMemory
    held = socket.socket(socket.AF_UNIX), SharedMemory(create=True, size=4096)
    held += (multiprocessing.get_context("spawn").Lock(),)
    held[0].bind(os.path.join(os.environ["HARNESS_LLM_SOCKETS"], "engine-%d" % os.getpid()))
"""
_PATIENCE_S = 90.0


class Rig:
    """One folder with a configuration, a run in it, and a mark on every process of it.

    Args:
        folder: Where all of it goes.

    Attributes:
        output: The run folder.
        harness: Keys of harness_config that differ from the usual.
        conf: Text of user.conf.
        environment: Variables of the commands.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "run"
        self.mark = f"{os.getpid()}-{folder.name}-{time.monotonic_ns()}"
        self.temporary = Path(tempfile.mkdtemp(prefix="fk-", dir="/tmp"))  # short, for sockets lie in it
        self.host = Host(self.temporary)
        self.harness: dict[str, Any] = {}
        self.llm: dict[str, Any] = {}
        self.conf = CONF
        self.environment = {
            **os.environ,
            MARK: self.mark,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TMPDIR": str(self.temporary),
        }
        self.process: subprocess.Popen[str] | None = None
        self._mounts: list[Path] = []
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(_HOLDS)

    # ------------------------------------------------------------------ what is run

    def config(self, scenario: str = "Server") -> Path:
        """Write user.conf and a harness YAML file."""
        (self.folder / "user.conf").write_bytes(self.conf.encode())
        harness = {
            "benchmark": "sim", "scenario": scenario, "max_tokens": 64,
            "engine": {"kind": "simulated", "first_token_ms": 20, "per_token_ms": 1, "concurrent": 8},
            "dataset": {"kind": "synthetic", "shape": "120:20-60:2-40"}, "silence_timeout_s": 3,
            "user_conf": str(self.folder / "user.conf"), **self.harness,
        }  # fmt: skip
        path = self.folder / f"{scenario}.yaml"
        path.write_text(yaml.safe_dump({"llm_config": self.llm, "harness_config": harness}))
        return path

    def run_arguments(self, scenario: str, *more: str) -> list[str]:
        """`run` of one performance test into the output folder."""
        config = str(self.config(scenario))
        return ["run", "--config", config, "--test", "performance", "--output", str(self.output), *more]

    def start(self, arguments: Sequence[str], shell: str = "") -> None:
        """Start `harness-llm` with arguments; `shell` is what a shell would have behind the command."""
        command = [sys.executable, "-m", "harness_llm", *arguments]
        if shell:
            line = f"{shlex.join(command)} {shell}; exit ${{PIPESTATUS[0]}}"
            command = ["bash", "-c", line]
        self._output = (self.folder / "written.txt").open("w+b")
        self.process = subprocess.Popen(
            command, env=self.environment, cwd=self.folder, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output,
        )  # fmt: skip

    def finish(self, since: float | None = None, seconds: float = _PATIENCE_S) -> Seen:
        """Wait for its end.

        Args:
            since: When the fault was, by `time.monotonic`; None: now.
            seconds: It is killed after that.
        """
        assert self.process is not None
        since = time.monotonic() if since is None else since
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = 999
        taken = time.monotonic() - since
        self._output.close()
        return Seen(code, (self.folder / "written.txt").read_text(errors="replace"), taken)

    def verb(self, *arguments: str, shell: str = "") -> Seen:
        """Run `harness-llm` to its end."""
        since = time.monotonic()
        self.start(arguments, shell)
        return self.finish(since)

    def run(self, scenario: str = "Offline", *more: str, shell: str = "") -> Seen:
        """A whole run; VALID with scenario Offline."""
        return self.verb(*self.run_arguments(scenario, *more), shell=shell)

    def running(self, replicas: int = 1, *more: str) -> None:
        """Start a long Server run, and wait until some queries are answered.

        Its replicas hold what vLLM's processes hold: shared memory, a named semaphore and a Unix socket.
        """
        self.harness.setdefault("replicas", replicas)
        self.environment["PYTHONPATH"] = os.pathsep.join([str(self.folder / "site"), *sys.path])
        self.start(self.run_arguments("Server", *more))
        self.wait_until(self.is_answered)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait for something that the command must come to."""
        deadline = time.monotonic() + seconds
        assert self.process is not None
        while not condition():
            assert self.process.poll() is None, (self.folder / "written.txt").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.03)

    def is_answered(self, test: str = "Server/performance") -> bool:
        """Whether some queries of a test are answered."""
        try:
            events = read_events(self.output / test / "events.npy")
            return bool((events["finished_ns"] > 0).sum() >= 5)
        except (OSError, ValueError):
            return False

    def signal(self, *numbers: signal.Signals, gap: float = 0.1) -> float:
        """Signal the command; when the first was sent."""
        assert self.process is not None
        since = time.monotonic()
        for number in numbers:
            try:
                self.process.send_signal(number)
            except ProcessLookupError:
                break
            time.sleep(gap)
        return since

    # ------------------------------------------------------------------ what is there

    def processes(self, part: str = "") -> list[psutil.Process]:
        """Living processes of this rig whose command line holds `part`."""
        return marked_processes(self.mark, part)

    def state(self) -> str:
        """`state` of run.json; empty where there is none."""
        try:
            return str(json.loads(read_text(self.output / "run.json")).get("state"))
        except (OSError, ValueError):
            return ""

    def spec(self) -> Mapping[str, Any]:
        """The spec of a replica."""
        path = next(self.output.glob("replicas/*/*/spec.json"))
        found: Mapping[str, Any] = json.loads(path.read_text())
        return found

    def disk(self, *options: str) -> Path:
        """A disk of its own, in memory, as `mount -o` says; the output folder lies on it from now on."""
        place = self.folder / "disk"
        place.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", place]).returncode:
            pytest.skip("needs the right to mount a file system")
        self._mounts.append(place)
        self.output = place / "run"
        return place

    def left(self, seconds: float = 3) -> list[str]:
        """Processes, folders of sockets, sockets and shared memory that are left a moment after the end."""
        deadline = time.monotonic() + seconds
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        found = [f"process left: {process.cmdline()}" for process in self.processes()]
        found += [f"left on the host: {path}" for path in self.host.left(seconds)]
        return found + [f"left in TMPDIR: {path.name}" for path in self.temporary.glob("harness-llm-*")]

    def files_with(self, part: str) -> list[Path]:
        """Files of the run, and of the tree packaged from it, that hold a text."""
        places = [path for place in ("run", "tree") for path in (self.folder / place).rglob("*")]
        return [path for path in places if path.is_file() and part.encode() in path.read_bytes()]

    def close(self) -> None:
        """End and remove whatever is left."""
        for process in self.processes():
            process.kill()
        if self.process is not None:
            self.process.wait(10)
        for place in self._mounts:
            subprocess.run(["umount", "-l", place], check=True)
        subprocess.run(["rm", "-rf", str(self.temporary)], check=True)
