"""What the harness itself can carry: LoadGen, ZeroMQ and processes as in any run, and an instant engine.

Three figures: Offline samples/s, p99 TTFT that the harness adds in Server, and peak memory of the loadgen
process. docs/benchmarks.md says how to read them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "code"))

from benchmarks.figures import INTERRUPTED, Figure, Machine, report, write_conf

from harness_llm.config.harness import RunConfig
from harness_llm.core import NANOSECONDS_PER_MS, counted
from harness_llm.errors import ConfigError, HarnessError, RunBroken
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.records import TestRecord
from harness_llm.results.run_folder import TestFolder
from harness_llm.run.execute import execute
from harness_llm.run.prepare import prepare
from harness_llm.views.live import make_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_llm.views.live import View

_MODEL = "plumbing"
_SHAPE = "24576:100:300"  # samples of the llama2-70b data set : prompt tokens : answer tokens
_OFFLINE_TARGET = 30_000.0  # samples/s
_ADDED_TTFT_TARGET_MS = 5.0
_MEMORY_TARGET_GIB = 2.0
_REAL_FIRST_MS = 20.0
_REAL_TOKEN_MS = 1.0
_IN_FLIGHT = 1 << 16  # the simulated engine must never queue: its own queue is no cost of the harness


@dataclass(frozen=True)
class Load:
    """How much load is put on.

    Attributes:
        offline_samples: Samples of the one Offline query.
        queries_per_s: Server queries a second.
        server_s: Length of each Server test, seconds.
        shape: The synthetic data set, `count:input:output`; `output` must be one number.
        replicas: Simulated replicas beside one loadgen process.
    """

    offline_samples: int
    queries_per_s: float
    server_s: float
    shape: str
    replicas: int = 1

    @property
    def answer_tokens(self) -> int:
        """Tokens of every answer.

        Raises:
            ConfigError: The shape gives no single number.
        """
        text = self.shape.rpartition(":")[2]
        if not text.isdecimal():
            raise ConfigError(
                f"--shape {self.shape}: expected one answer length", "For example 24576:100:300."
            )
        return int(text)


@dataclass(frozen=True)
class Measured:
    """One LoadGen test: LoadGen's own log, and what the loadgen process said of itself."""

    log: DetailLog
    test: TestRecord

    def number(self, key: str) -> float:
        """A result of LoadGen's detail log.

        Raises:
            RunBroken: LoadGen did not log it.
        """
        found = self.log.number(f"result_{key}")
        if found is None:
            raise RunBroken(f"{self.log.path}: LoadGen logged no result_{key}")
        return found


def run_test(scenario: str, load: Load, latency: dict[str, float], folder: Path, view: View) -> Measured:
    """Run one performance test with the simulated engine.

    Args:
        scenario: `Offline` or `Server`.
        load: How much.
        latency: The simulated engine's latencies.
        folder: Where the run folder and user.conf go; made.
        view: Where to show how it goes.

    Raises:
        HarnessError: The run broke, or LoadGen counted other samples than were asked for.
    """
    folder.mkdir()
    queries = round(load.queries_per_s * load.server_s)
    settings = {
        "Offline.target_qps": 1,
        "Offline.min_duration": 0,
        "Offline.min_query_count": load.offline_samples,
        "Server.target_qps": load.queries_per_s,
        "Server.min_duration": 0,
        "Server.min_query_count": queries,
        "Server.ttft_latency": 1000,
        "Server.tpot_latency": 100,
    }
    harness = {
        "benchmark": _MODEL,
        "scenario": scenario,
        "dataset": {"kind": "synthetic", "shape": load.shape},
        "max_tokens": load.answer_tokens,
        "user_conf": write_conf(folder / "user.conf", _MODEL, settings),
        "replicas": load.replicas,
        "engine": {"kind": "simulated", "concurrent": _IN_FLIGHT, **latency},
    }
    config = RunConfig.model_validate({"llm_config": {}, "harness_config": harness})
    execute(prepare([config], ["performance"]), folder / "run", view, resume=False)
    test = folder / "run" / scenario / "performance"
    measured = Measured(DetailLog.read(test / DETAIL_LOG), TestFolder(test).record())
    expected = load.offline_samples if scenario == "Offline" else queries
    if measured.test.samples != expected or measured.test.tokens != expected * load.answer_tokens:
        raise RunBroken(f"{test}: expected {expected} samples, LoadGen ran {measured.test.samples}")
    return measured


def measure(load: Load, folder: Path, view: View) -> list[Figure]:
    """Run the three tests and derive the figures."""
    view.say("1 of 3: Offline, instant engine")
    offline = run_test("Offline", load, {}, folder / "offline", view)
    view.say("2 of 3: Server, instant engine")
    instant = run_test("Server", load, {}, folder / "instant", view)
    view.say(f"3 of 3: Server, engine of {_REAL_FIRST_MS:g} ms and {_REAL_TOKEN_MS:g} ms a token")
    latency = {"first_token_ms": _REAL_FIRST_MS, "per_token_ms": _REAL_TOKEN_MS}
    timed = run_test("Server", load, latency, folder / "timed", view)
    return [
        Figure(
            "Offline, samples/s as LoadGen reports it",
            offline.number("samples_per_second"),
            "samples/s",
            _OFFLINE_TARGET,
        ),
        *_server_figures("instant engine", instant, 0.0),
        *_server_figures("timed engine", timed, _REAL_FIRST_MS),
        Figure(
            f"peak memory of the loadgen process, Offline, {load.offline_samples:,} samples",
            (offline.test.peak_rss_bytes or 0) / 2**30,
            "GiB",
            _MEMORY_TARGET_GIB,
            is_limit=True,
            digits=2,
        ),
    ]


def _server_figures(engine: str, measured: Measured, engine_ms: float) -> list[Figure]:
    def added_ms(percentile: str) -> float:
        ttft_ns = measured.number(f"first_token_{percentile}_percentile_latency_ns")
        return ttft_ns / NANOSECONDS_PER_MS - engine_ms

    name = f"Server, {engine}"
    p99 = f"{name}: added TTFT, p99 less {engine_ms:g} ms"
    return [
        Figure(p99, added_ms("99.00"), "ms", _ADDED_TTFT_TARGET_MS, is_limit=True, digits=2),
        Figure(f"{name}: the same at the median", added_ms("50.00"), "ms", digits=2),
        Figure(f"{name}: completed", measured.number("completed_samples_per_sec"), "queries/s"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns 0, 1 if a target is missed, or the exit code of what went wrong."""
    parser = argparse.ArgumentParser(description="What the harness carries with an instant engine.")
    parser.add_argument("--samples", type=int, default=1_000_000, help="Offline (default: %(default)s)")
    parser.add_argument("--qps", type=float, default=2000.0, help="Server queries/s (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a Server test (default: %(default)s)")
    parser.add_argument("--shape", default=_SHAPE, help="samples:prompt:answer tokens (default: %(default)s)")
    parser.add_argument("--replicas", type=int, default=1, help="simulated ones (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if min(options.samples, options.qps, options.seconds, options.replicas) <= 0:
        parser.error("--samples, --qps, --seconds and --replicas must be above 0")
    machine = Machine()
    load = Load(options.samples, options.qps, options.seconds, options.shape, options.replicas)
    view = make_view("simulated, not a result", quiet=True)
    try:
        with tempfile.TemporaryDirectory(prefix="harness-llm-plumbing-") as folder:
            figures = measure(load, Path(folder), view)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        view.close()
    replicas = counted(load.replicas, "simulated replica")
    title = (
        f"plumbing: real LoadGen, ZeroMQ and processes, {replicas}; "
        f"Server at {load.queries_per_s:,.0f} queries/s of {load.answer_tokens}-token answers"
    )
    details = {"shape": load.shape, "replicas": load.replicas}
    return report(title, figures, machine.facts(), details, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
