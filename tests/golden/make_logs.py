"""Record LoadGen logs with a system under test that only sleeps: `python make_logs.py OUT [NAME ...]`.

Each test runs in its own process, because LoadGen reads its configuration once a process. The logs lie
beside this file, compressed; the runs of full legal size take 10 to 15 minutes and hardly any processor.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import json
import lzma
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

EVENTS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "sample",
            "replica",
            "issued_ns",
            "first_token_ns",
            "finished_ns",
            "tokens",
            "prompt_tokens",
            "status",
        )
    ]
)

SMALL = """\
toy.*.use_token_latencies = 1
toy.*.sample_concatenate_permutation = {equal}
toy.*.performance_sample_count_override = 64
toy.Server.target_qps = {qps}
toy.Server.target_latency = 0
toy.Server.ttft_latency = {ttft}
toy.Server.tpot_latency = {tpot}
toy.Server.min_query_count = {count}
toy.Server.min_duration = 0
toy.Offline.target_qps = 400
toy.Offline.min_query_count = 64
toy.Offline.min_duration = {offline}
"""
OFFICIAL = """\
llama2-70b.Offline.target_qps = 35
llama2-70b.Offline.min_duration = 600000
llama2-70b.Server.target_qps = {qps}
llama2-70b-interactive.Server.target_qps = {qps}
"""


@dataclass(frozen=True)
class Test:
    """One LoadGen test; times in seconds."""

    model: str
    scenario: str
    mode: str
    samples: int
    conf: str
    ttft: float = 0.01
    tpot: float = 0.0005
    tokens: int = 24
    slow_every: int = 0
    slow_ttft: float = 0.0
    offline_seconds: float = 0.0
    audit: str = ""


def _small(
    scenario: str,
    *,
    mode: str = "PerformanceOnly",
    count: int = 640,
    offline: int = 0,
    equal: int = 1,
    **rest,
) -> Test:
    conf = SMALL.format(qps=400, ttft=100, tpot=20, count=count, offline=offline, equal=equal)
    return Test("toy", scenario, mode, 64, conf, **rest)


def _official(model: str, scenario: str, mode: str = "PerformanceOnly", **rest) -> Test:
    return Test(model, scenario, mode, 24576, OFFICIAL.format(qps=40), tokens=294, **rest)


AUDIT = """\
*.*.mode = 2
*.*.accuracy_log_rng_seed = 720381539243781796
*.*.accuracy_log_sampling_target = 100
*.*.min_query_count = 100
*.*.min_duration = 0
*.*.sample_concatenate_permutation = 0
"""

TESTS = {
    "toy-server-valid": _small("Server"),
    "toy-server-early-stopping": _small("Server", count=448),
    "toy-server-one-over": _small("Server", slow_every=320, slow_ttft=0.15),
    "toy-server-errors": _small("Server", tokens=1),
    "toy-server-accuracy": _small("Server", mode="AccuracyOnly"),
    "toy-server-audit": _small("Server", audit=AUDIT),
    "toy-offline-valid": _small("Offline", offline_seconds=0.5),
    "toy-offline-short": _small("Offline", offline=2000, offline_seconds=0.2),
    "toy-offline-accuracy": _small("Offline", mode="AccuracyOnly"),
    "llama2-offline": _official("llama2-70b", "Offline", offline_seconds=603),
    "llama2-server": _official("llama2-70b", "Server", ttft=0.5, tpot=0.05),
    "llama2-interactive": _official("llama2-70b-interactive", "Server", ttft=0.2, tpot=0.02),
    "llama2-offline-accuracy": _official("llama2-70b", "Offline", "AccuracyOnly"),
    "llama2-server-accuracy": _official("llama2-70b", "Server", "AccuracyOnly", ttft=0, tpot=0),
    "llama2-interactive-accuracy": _official(
        "llama2-70b-interactive", "Server", "AccuracyOnly", ttft=0, tpot=0
    ),
    "llama2-offline-test06": _official("llama2-70b", "Offline", audit=AUDIT, offline_seconds=1),
    "llama2-server-test06": _official("llama2-70b", "Server", audit=AUDIT, ttft=0.01, tpot=0.0001),
    "llama2-interactive-test06": _official(
        "llama2-70b-interactive", "Server", audit=AUDIT, ttft=0.01, tpot=0.0001
    ),
}


class SleepingSUT:
    """Answers after fixed delays, from one thread; keeps the events of every sample."""

    def __init__(self, lg: object, test: Test) -> None:
        self.lg = lg
        self.test = test
        self.rows: list[list[int]] = []
        self.due: list[tuple[float, int, str, int, int]] = []
        self.wake = threading.Condition()
        threading.Thread(target=self._work, daemon=True).start()

    def issue(self, samples: list) -> None:
        now, test = time.monotonic(), self.test
        with self.wake:
            for position, sample in enumerate(samples):
                row = len(self.rows)
                self.rows.append(
                    [sample.index, 0, time.monotonic_ns(), 0, 0, test.tokens, 1 + sample.index % 7, 0]
                )
                slow = test.slow_every and row % test.slow_every == test.slow_every - 1
                first = now + (test.slow_ttft if slow else test.ttft)
                done = first + test.tpot * (test.tokens - 1)
                if test.scenario == "Offline":
                    done = now + test.offline_seconds * (position + 1) / len(samples)
                else:
                    heapq.heappush(self.due, (first, row, "first", sample.id, row))
                heapq.heappush(self.due, (done, row, "last", sample.id, row))
            self.wake.notify()

    def _work(self) -> None:
        while True:
            with self.wake:
                while not self.due:
                    self.wake.wait()
                wait = self.due[0][0] - time.monotonic()
                if wait > 0:
                    self.wake.wait(wait)
                    continue
                _, _, what, sample, row = heapq.heappop(self.due)
            self._answer(what, sample, row)

    def _answer(self, what: str, sample: int, row: int) -> None:
        index = self.rows[row][0]
        tokens = np.arange(index + 3, index + 3 + self.test.tokens, dtype=np.int32)
        self.rows[row][3 if what == "first" else 4] = time.monotonic_ns()
        self.rows[row][7] = 2 if what == "first" else 3
        if what == "first":
            response = self.lg.QuerySampleResponse(sample, tokens[:1].ctypes.data, 4)
            self.lg.FirstTokenComplete([response])
        else:
            response = self.lg.QuerySampleResponse(sample, tokens.ctypes.data, tokens.nbytes, len(tokens))
            self.lg.QuerySamplesComplete([response])

    def events(self) -> np.ndarray:
        return np.array([tuple(row) for row in self.rows], EVENTS)


def record(name: str, out: Path) -> None:
    import mlperf_loadgen as lg

    test = TESTS[name]
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "user.conf").write_text(test.conf)
    (folder / "test.json").write_text(json.dumps(asdict(test)))
    audit = folder / "audit.config"
    if test.audit:
        audit.write_text(test.audit)
    settings = lg.TestSettings()
    settings.FromConfig(str(folder / "user.conf"), test.model, test.scenario, 1)
    settings.scenario = getattr(lg.TestScenario, test.scenario)
    settings.mode = getattr(lg.TestMode, test.mode)
    output = lg.LogOutputSettings()
    output.outdir = str(folder)
    logs = lg.LogSettings()
    logs.log_output = output
    logs.enable_trace = False
    sut = SleepingSUT(lg, test)
    handle = lg.ConstructSUT(sut.issue, lambda: None)
    qsl = lg.ConstructQSL(test.samples, test.samples, lambda _: None, lambda _: None)
    lg.StartTestWithLogSettings(handle, qsl, settings, logs, str(audit))
    np.save(folder / "events.npy", sut.events())
    (folder / "mlperf_log_trace.json").unlink(missing_ok=True)


def pack(name: str, source: Path, target: Path) -> None:
    """Store a recorded test here: logs compressed, a large accuracy log cut as a submission's is."""
    folder, packed = source / name, target / name
    packed.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        if path.name == "mlperf_log_accuracy.json":
            (packed / "accuracy.sha256").write_text(hashlib.sha256(content).hexdigest() + "\n")
            if len(content) > 65536:
                content = content[:4096] + b"\n\n...\n\n" + content[-4096:]
        if path.name == "events.npy" and name.startswith("llama2"):
            continue
        (packed / f"{path.name}.xz").write_bytes(lzma.compress(content, preset=9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", default=list(TESTS))
    parser.add_argument("--here", action="store_true", help="run one test in this process")
    parser.add_argument("--pack", type=Path, help="store what lies in OUT in this folder, compressed")
    given = parser.parse_args()
    if given.pack:
        for name in given.names:
            pack(name, given.out, given.pack)
        return
    if given.here:
        record(given.names[0], given.out)
        return
    for name in given.names:
        subprocess.run([sys.executable, __file__, str(given.out), name, "--here"], check=True)


if __name__ == "__main__":
    main()
