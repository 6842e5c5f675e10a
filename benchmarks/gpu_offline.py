"""Offline tokens/s of one engine on one card in a steady state, beside watts and clock.

It needs no checkpoint, only a model's configuration files (`load_format: random`). The engine starts warm:
its first requests are sequences met at a random moment of a long run (the prompt is what such a sequence
already holds, the answer what is still to come), so that the mixed steps that follow are those of the
middle of a run. Each step is noted by the engine itself. docs/performance.md says how to read the figures.

    python benchmarks/gpu_offline.py --engine-args '{"model": "FOLDER", "load_format": "random", …}'
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "code")]

_STEP = np.dtype(
    [
        ("scheduled_s", "<f8"),
        ("done_s", "<f8"),
        ("tokens", "<i4"),
        ("requests", "<i4"),
        ("emitted", "<i4"),
        ("waiting", "<i4"),
        ("preempted", "<i4"),
        ("kv", "<i4"),
    ]
)
"""As benchmarks.gpu_engine.STEP."""

_SHAPE = "llama2-70b"
_FULL = 0.96  # of the KV cache, in a steady state
_NEARLY = 0.95
_FILL_LIMIT_S = 150.0
_PAUSE_S = 0.2
_VOCABULARY = 32_000
_TRACED_STEPS = 6


@dataclass
class Power:
    """Watts and SM clock of the first card that this process may use, ten times a second, in a thread."""

    watts: list[float] = field(default_factory=list)
    mhz: list[float] = field(default_factory=list)

    def __enter__(self) -> Power:
        self._over = threading.Event()
        try:
            import pynvml

            from harness_llm.telemetry.visible import visible_gpus

            pynvml.nvmlInit()
            card = next(iter(visible_gpus(pynvml).values()))
        except Exception as error:  # noqa: BLE001 - NVML raises its own types; watts are an extra
            print(f"no watts: {error}", file=sys.stderr)
            return self

        def look() -> None:
            while not self._over.wait(0.1):
                self.watts.append(pynvml.nvmlDeviceGetPowerUsage(card) / 1000)
                self.mhz.append(pynvml.nvmlDeviceGetClockInfo(card, pynvml.NVML_CLOCK_SM))

        threading.Thread(target=look, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def facts(self) -> dict[str, int]:
        """Means."""
        if not self.watts:
            return {}
        return {"watts": round(statistics.mean(self.watts)), "mhz": round(statistics.mean(self.mhz))}


@dataclass(frozen=True)
class Request:
    """A prompt of so many tokens and an answer of exactly so many."""

    prompt: int
    answer: int


def fresh_requests(count: int, seed: int) -> list[Request]:
    """Requests of the benchmark's shape."""
    from harness_llm.core import GenerationLimits
    from harness_llm.datasets.synthetic import load_synthetic

    table = load_synthetic(_SHAPE, GenerationLimits(2, 1024), seed=seed, vocab_size=_VOCABULARY)
    lengths = np.diff(table.offsets)
    return [Request(int(lengths[i]), int(table.max_tokens[i])) for i in range(count)]


def met_in_flight(count: int, seed: int) -> list[Request]:
    """Sequences met at a random moment of a long run: one that answers for longer is met more often."""
    random = np.random.default_rng(seed)
    pool = fresh_requests(20_000, seed)
    answers = np.array([one.answer for one in pool], dtype=np.float64)
    found = []
    for index in random.choice(len(pool), count, p=answers / answers.sum()):
        one = pool[int(index)]
        age = int(random.integers(one.answer))
        found.append(Request(one.prompt + age, one.answer - age))
    return found


def steps_of(path: Path) -> npt.NDArray[Any]:
    """The steps noted so far, whole rows only."""
    if not path.is_file():
        return np.zeros(0, dtype=_STEP)
    raw = path.read_bytes()
    return np.frombuffer(raw[: len(raw) // _STEP.itemsize * _STEP.itemsize], dtype=_STEP)


def rates(steps: npt.NDArray[Any]) -> dict[str, Any]:
    """Figures of a stretch of steps; the first only starts the clock."""
    if len(steps) < 3:  # noqa: PLR2004
        return {"steps": len(steps)}
    durations = np.diff(steps["done_s"])
    seconds = float(steps["done_s"][-1] - steps["done_s"][0])
    counted = steps[1:]
    return {
        "seconds": round(seconds, 1),
        "steps": len(counted),
        "output_tokens_per_s": round(float(counted["emitted"].sum()) / seconds, 1),
        "step_ms": round(seconds / len(counted) * 1000, 2),
        "longest_step_ms": round(float(durations.max()) * 1000, 1),
        "steps_over_pause": int((durations > durations.mean() + _PAUSE_S).sum()),
        "tokens_per_step": round(float(counted["tokens"].mean()), 1),
        "requests_per_step": round(float(counted["requests"].mean()), 1),
        "kv_use": round(float(counted["kv"].mean()) / 10_000, 3),
        "preemptions": int(steps["preempted"][-1] - steps["preempted"][0]),
    }


class Offline:
    """One engine, measured."""

    def __init__(self, options: argparse.Namespace, log: Path) -> None:
        from vllm import LLM

        self._options = options
        self._log = log
        self._ids = 0
        arguments = dict(options.engine_args)
        if options.layers:
            arguments["hf_overrides"] = {"num_hidden_layers": options.layers}
            arguments["num_gpu_blocks_override"] = options.kv_tokens // arguments.get("block_size", 16)
        began = time.monotonic()
        self._llm = LLM(
            **arguments,
            disable_log_stats=True,
            scheduler_cls="benchmarks.gpu_engine.NotingScheduler",
            worker_extension_cls="benchmarks.gpu_engine.TracingWorker",
        )
        self._engine: Any = self._llm.llm_engine
        self.start_s = round(time.monotonic() - began, 1)
        self.facts = self._llm.collective_rpc("vllm_facts")[0]
        self.replaced = self._llm.collective_rpc("harness_llm_facts")[0]

    def warm(self) -> int:
        """Queue the sequences in flight, then fresh ones; return how many are in flight in a steady state."""
        budget, seats = self.facts["max_num_batched_tokens"], self.facts["max_num_seqs"]
        cached = self.facts["blocks"] * self.facts["block_size"]
        in_flight = met_in_flight(4000, seed=5)
        mean = statistics.mean(one.prompt for one in in_flight)
        fresh = fresh_requests(self._options.requests, seed=3)
        share = sum(one.answer for one in fresh) / sum(one.prompt + one.answer for one in fresh)
        count = int(min(seats, cached * _FULL / mean, budget * share))
        self._add(in_flight[:count])
        self._add(fresh)
        return count

    def run_until(self, over: Any, limit_s: float) -> npt.NDArray[Any]:
        """Step until `over(steps)` or the limit; return the steps of this stretch."""
        began = time.monotonic()
        looked = began
        while time.monotonic() - began < limit_s:
            self._engine.step()
            if time.monotonic() - looked > 1.0:
                looked = time.monotonic()
                if over(steps_of(self._log)):
                    break
        steps = steps_of(self._log)
        return steps[steps["done_s"] >= began]

    def trace(self) -> dict[str, Any]:
        """Kernels of some steps."""
        count = len(steps_of(self._log))
        self._llm.collective_rpc("trace_start")
        self.run_until(lambda steps: False, _TRACED_STEPS * 0.21)
        table: dict[str, Any] = self._llm.collective_rpc("trace_end")[0]
        return {"steps": len(steps_of(self._log)) - count, **table}

    def close(self) -> None:
        """End the engine."""
        self._engine.engine_core.shutdown()

    def _add(self, requests: Sequence[Request]) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        vocabulary = int(self._engine.model_config.get_vocab_size())
        random = np.random.default_rng(2)
        for one in requests:
            self._ids += 1
            prompt = random.integers(3, vocabulary, one.prompt).tolist()
            parameters = SamplingParams(
                max_tokens=one.answer,
                temperature=0.0,
                ignore_eos=True,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            self._engine.add_request(str(self._ids), {"prompt_token_ids": prompt}, parameters)


def measure(options: argparse.Namespace, say: Any) -> None:
    """Start, fill, measure, trace; each as a row."""
    with tempfile.TemporaryDirectory(prefix="gpu-offline-") as folder:
        log = Path(folder) / "steps"
        os.environ["GPU_OFFLINE_STEP_LOG"] = str(log)
        bench = Offline(options, log)
        say({"start_s": bench.start_s, "engine": bench.facts, "replaced": bench.replaced})
        in_flight = bench.warm()
        fill = bench.run_until(
            lambda steps: bool(len(steps)) and steps["emitted"][-5:].mean() >= _NEARLY * in_flight,
            options.fill_seconds,
        )
        say({"fill": rates(fill), "in_flight_expected": in_flight})
        with Power() as power:
            steady = bench.run_until(lambda steps: steps["waiting"][-1] < 1, options.seconds)
        say({"steady": rates(steady), **power.facts()})
        if options.output:
            np.save(options.output.with_suffix(".steps.npy"), steps_of(log))
        if options.trace:
            say({"trace": bench.trace()})
        bench.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print one JSON object a row."""
    parser = argparse.ArgumentParser(description="Steady Offline tokens/s of one vLLM engine on one card.")
    parser.add_argument("--engine-args", type=json.loads, required=True, help="arguments of vllm.LLM, JSON")
    parser.add_argument("--name", default="", help="said in every row")
    parser.add_argument("--layers", type=int, default=0, help="cut the model to so many layers")
    parser.add_argument(
        "--kv-tokens", type=int, default=435_000, help="KV cache of a cut model (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=180.0, help="steady time to measure (default: %(default)s)"
    )
    parser.add_argument(
        "--fill-seconds", type=float, default=_FILL_LIMIT_S, help="at most (default: %(default)s)"
    )
    parser.add_argument(
        "--requests", type=int, default=5000, help="fresh requests queued (default: %(default)s)"
    )
    parser.add_argument("--trace", action="store_true", help="kernels of some steps, after measuring")
    parser.add_argument("--output", type=Path, help="append the rows to this file, too")
    options = parser.parse_args(arguments)
    began = time.monotonic()

    def say(row: dict[str, Any]) -> None:
        text = json.dumps({"name": options.name, "t": round(time.monotonic() - began, 1), **row})
        print(text, flush=True)
        if options.output:
            with options.output.open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(_ROOT), str(_ROOT / "code"), os.environ.get("PYTHONPATH")])
    )
    measure(options, say)
    return 0


if __name__ == "__main__":
    sys.exit(main())
