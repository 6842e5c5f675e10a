"""Runs of the real command line with real LoadGen and the simulated engine, and a watch on every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml
from left_behind import Host
from marked import MARK, marked_processes

from harness_llm.results.events import read_events

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

USER_CONF = """\
sim.*.use_token_latencies = 1
sim.Server.ttft_latency = 1000
sim.Server.tpot_latency = 100
sim.Offline.target_qps = 4000
sim.Offline.min_duration = 100
sim.Server.target_qps = 300
sim.Server.min_duration = 1000
sim.Server.min_query_count = 500
sim.Server.sample_concatenate_permutation = 1
"""


@dataclass
class Run:
    """One run of the command line, in its own folder, with its own mark on every process of it.

    Attributes:
        folder: Where configuration and results go.
        user_conf: Text of user.conf.
        harness: Keys of harness_config that differ from the usual; and `scenarios` and `tests` to run.
        llm: llm_config.
        prefix: What runs the command, e.g. in a mount namespace of its own.
    """

    folder: Path
    user_conf: str = USER_CONF
    harness: dict[str, Any] = field(default_factory=dict)
    llm: dict[str, Any] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    process: subprocess.Popen[str] | None = None
    host: Host = field(default_factory=lambda: Host(Path(tempfile.gettempdir())))

    @property
    def output(self) -> Path:
        return self.folder / "run"

    @property
    def command(self) -> list[str]:
        (self.folder / "user.conf").write_text(self.user_conf)
        files = []
        for scenario in self.harness.get("scenarios", ["Offline", "Server"]):
            path = self.folder / f"{scenario}.yaml"
            harness = {
                "benchmark": "sim", "scenario": scenario, "engine": "simulated",
                "dataset": {"kind": "synthetic", "shape": "120:20-60:2-40"}, "max_tokens": 64,
                "user_conf": str(self.folder / "user.conf"),
                **{key: value for key, value in self.harness.items() if key not in ("scenarios", "tests")},
            }  # fmt: skip
            path.write_text(yaml.safe_dump({"llm_config": self.llm, "harness_config": harness}))
            files += ["--config", str(path)]
        tests = [part for test in self.harness.get("tests", ["performance"]) for part in ("--test", test)]
        return [sys.executable, "-m", "harness_llm", "run", *files, *tests, "--output", str(self.output)]

    def start(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*self.prefix, *self.command, *arguments],
            env={**os.environ, MARK: self.mark, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait(self, seconds: float = 60) -> tuple[int, str]:
        """Exit code and stderr."""
        assert self.process is not None
        self.out, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, errors

    def complete(self, *arguments: str, seconds: float = 90) -> tuple[int, str]:
        self.start(*arguments)
        return self.wait(seconds)

    def processes(self, part: str = "") -> list[psutil.Process]:
        """Living processes of this run whose command line holds `part`."""
        return marked_processes(self.mark, part)

    def family(self) -> list[psutil.Process]:
        """Every descendant, found by descent: an engine may overwrite the variables that hold the mark."""
        assert self.process is not None
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def wait_until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.05)

    def wait_until_asked(self, test: str, queries: int = 5, seconds: float = 60) -> None:
        """Wait until LoadGen has had so many answers."""
        path = self.output / test / "events.npy"

        def has_answers() -> bool:
            return path.exists() and (self.events(test)["finished_ns"] > 0).sum() >= queries

        self.wait_until(has_answers, seconds)

    def assert_nothing_is_left(self, seconds: float = 3) -> None:
        deadline = time.monotonic() + seconds
        while left := self.processes():
            assert time.monotonic() < deadline, [process.cmdline() for process in left]
            time.sleep(0.05)
        assert not (found := self.host.left(seconds)), found

    def events(self, test: str) -> npt.NDArray[np.void]:
        return read_events(self.output / test / "events.npy")

    def json(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.output / name).read_text())
        return document

    def end(self) -> None:
        for process in self.processes():
            process.kill()
        if self.process is not None:
            self.process.wait(10)
            for stream in (self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()
