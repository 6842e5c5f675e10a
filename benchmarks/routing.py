"""What routing costs when one replica is slower than the others, by the real routers and simulated replicas.

A discrete-event simulation: each replica takes steps as vLLM does on llama2-70b (decodes first, then
prompts up to a token budget), with step times fitted to one H200 (docs/performance.md), and one of them is
slower. Offline: time of a run over that of a split by the true speeds. Server: p99 of TTFT over that of
round robin. No engine runs, and no clock.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "code"))

from benchmarks.figures import Figure, Machine, report

from harness_llm.core import GenerationLimits
from harness_llm.datasets.synthetic import load_synthetic
from harness_llm.loadgen.router import PullRouter, PushRouter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from harness_llm.loadgen.router import Assignment, Router

_SLOWER = 1 / 0.7  # step times of the slow replica: 30 % less speed
_LIMIT_TOKENS = 1024  # what the router knows of an answer
_FLIGHT_S = 0.001  # a message to or from a replica
_OFFLINE_TARGET = 1.01
_SERVER_TARGET = 0.5
_LOAD = 0.9


@dataclass(frozen=True)
class Engine:
    """How long a step takes, seconds, and what a replica holds.

    Attributes:
        seats: Most sequences at once (`max_num_seqs`).
        budget: Most tokens a step (`max_num_batched_tokens`).
        cache: Tokens of KV cache.
    """

    seats: int = 1024
    budget: int = 1536
    cache: int = 440_000

    def step_s(self, tokens: int, cached: int) -> float:
        """Seconds of a step, fitted to one H200 with FP8.

        Weights are read in 17 ms; matrix products and the like take 0.117 ms per token, KV 0.05 us per token.
        """
        return 0.003 + max(0.017, 0.000117 * tokens) + 5.0e-8 * cached


class Replica:
    """A simulated engine; `begin` starts a step, `end` gives what it brought.

    Args:
        engine: Of every replica.
        slower: Factor on step times.
        prompts: Prompt tokens of each query.
        answers: Answer tokens of each query.
    """

    def __init__(
        self, engine: Engine, slower: float, prompts: npt.NDArray[np.int64], answers: npt.NDArray[np.int64]
    ) -> None:
        self._engine = engine
        self._slower = slower
        self._prompts = prompts
        self._answers = answers
        self._waiting: deque[int] = deque()
        self._prompt_left = 0  # of the head of the queue, which is being read
        self._reading = -1
        self._decoding = np.zeros(0, dtype=np.int64)  # queries
        self._to_come = np.zeros(0, dtype=np.int64)  # tokens of each
        self._cached = 0
        self._read: list[int] = []

    def submit(self, queries: Sequence[int]) -> None:
        """Queue queries."""
        self._waiting.extend(queries)

    def begin(self) -> float | None:
        """Start a step; its length in seconds, or None where there is nothing to do."""
        decodes = len(self._decoding)
        left = max(0, self._engine.budget - decodes)
        self._read = []
        tokens = decodes
        while left and (self._reading >= 0 or self._waiting):
            if self._reading < 0:
                query = self._waiting[0]
                seated = decodes + len(self._read) < self._engine.seats
                # room for what it brings and for what runs to grow on, as vLLM has by preempting
                if not seated or self._cached + int(self._prompts[query]) > self._engine.cache:
                    break
                self._waiting.popleft()
                self._reading, self._prompt_left = query, int(self._prompts[query])
                self._cached += self._prompt_left
            part = min(left, self._prompt_left)
            left -= part
            tokens += part
            self._prompt_left -= part
            if self._prompt_left == 0:
                self._read.append(self._reading)
                self._reading = -1
        if tokens == 0:
            return None
        self._cached += decodes
        return self._engine.step_s(tokens, self._cached) * self._slower

    def end(self) -> tuple[list[int], list[int]]:
        """(queries whose first token now exists, queries that are complete)."""
        self._to_come -= 1
        over = self._to_come <= 0
        done: list[int] = []
        if over.any():
            done = self._decoding[over].tolist()
            self._cached -= int((self._prompts[done] + self._answers[done]).sum())
            self._decoding, self._to_come = self._decoding[~over], self._to_come[~over]
        first = self._read
        if first:
            begun = np.array(first, dtype=np.int64)
            self._decoding = np.concatenate([self._decoding, begun])
            self._to_come = np.concatenate([self._to_come, self._answers[begun] - 1])
        return first, done


class RoundRobin:
    """What the routers are compared with."""

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas
        self._next = 0

    def assign(self, ordinals: Sequence[int], costs: Sequence[int]) -> list[Assignment]:
        """To each in turn."""
        del costs
        found: list[Assignment] = []
        for ordinal in ordinals:
            found.append((self._next, [ordinal]))
            self._next = (self._next + 1) % self._replicas
        return found

    def release(self, replica: int, ordinals: Sequence[int]) -> list[Assignment]:
        """Nothing waits here."""
        del replica, ordinals
        return []

    def lose(self, replica: int, ordinals: Sequence[int]) -> list[Assignment]:
        """No replica is lost in a simulation."""
        raise AssertionError((replica, ordinals))


class FixedSplit(RoundRobin):
    """Every query placed beforehand, in proportion to speeds that it is told: what no router can know."""

    def __init__(self, speeds: Sequence[float]) -> None:
        super().__init__(len(speeds))
        self._speeds = np.array(speeds)
        self._given = np.zeros(len(speeds))

    def assign(self, ordinals: Sequence[int], costs: Sequence[int]) -> list[Assignment]:
        """To the one that is furthest below its share."""
        del costs
        found = []
        for ordinal in ordinals:
            replica = int(np.argmin((self._given + 1) / self._speeds))
            self._given[replica] += 1
            found.append((replica, [ordinal]))
        return found


class Clock(Protocol):
    """Gives the simulated time, seconds."""

    def __call__(self) -> float:
        """Seconds since the run began."""


class Simulation:
    """One run.

    Args:
        engine: Of every replica.
        slower: Factor on the step times of each replica.
        prompts: Prompt tokens of each query.
        answers: Answer tokens of each query.
    """

    def __init__(
        self,
        engine: Engine,
        slower: Sequence[float],
        prompts: npt.NDArray[np.int64],
        answers: npt.NDArray[np.int64],
    ) -> None:
        self._replicas = [Replica(engine, factor, prompts, answers) for factor in slower]
        self._costs = (prompts + _LIMIT_TOKENS).tolist()
        self._events: list[tuple[float, int, int, list[int]]] = []  # (when, order, replica or -1, queries)
        self._order = 0
        self._busy = [False] * len(slower)
        self.now = 0.0
        self.ttft = np.full(len(prompts), np.nan)

    def run(self, make_router: Callable[[Clock], Router], arrivals: Sequence[float] | None) -> float:
        """Run to the last answer; its time, seconds.

        Args:
            make_router: Makes the router, given the simulated clock.
            arrivals: When each query arrives; None: all at once, Offline.
        """
        router = make_router(lambda: self.now)
        queries = len(self._costs)
        if arrivals is None:
            self._send(router.assign(range(queries), self._costs))
        else:
            for query, when in enumerate(arrivals):
                self._push(when, -1, [query])
        while self._events:
            self.now, _, replica, given = heapq.heappop(self._events)
            if replica == -1:
                self._send(router.assign(given, [self._costs[query] for query in given]))
            elif given:
                self._replicas[replica].submit(given)
                self._step(replica)
            else:
                self._busy[replica] = False
                first, done = self._replicas[replica].end()
                if arrivals is not None:
                    for query in first:
                        self.ttft[query] = self.now + _FLIGHT_S - arrivals[query]
                if done:
                    self._send(router.release(replica, done))
                self._step(replica)
        return self.now

    def _send(self, assignments: Sequence[Assignment]) -> None:
        for replica, given in assignments:
            self._push(self.now + _FLIGHT_S, replica, list(given))

    def _step(self, replica: int) -> None:
        if not self._busy[replica]:
            length = self._replicas[replica].begin()
            if length is not None:
                self._busy[replica] = True
                self._push(self.now + length, replica, [])

    def _push(self, when: float, replica: int, given: list[int]) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, replica, given))


def lengths(queries: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(prompt tokens, answer tokens) of so many queries of the llama2-70b shape, pass after pass."""
    table = load_synthetic("llama2-70b", GenerationLimits(2, _LIMIT_TOKENS), seed=1, vocab_size=32_000)
    places = np.arange(queries) % len(table)
    return table.prompt_lengths.astype(np.int64)[places], table.max_tokens.astype(np.int64)[places]


def offline(replicas: int, samples: int, depth: int) -> tuple[float, float]:
    """(time through PullRouter, time of the fixed split by true speeds), seconds."""
    slower = [_SLOWER] + [1.0] * (replicas - 1)
    prompts, answers = lengths(samples * replicas)

    def once(make: Callable[[Clock], Router]) -> float:
        return Simulation(Engine(), slower, prompts, answers).run(make, None)

    pulled = once(lambda _: PullRouter([depth] * replicas))
    split = once(lambda _: FixedSplit([1 / factor for factor in slower]))
    return pulled, split


def server(replicas: int, queries: int) -> tuple[float, float]:
    """(p99 of TTFT through PushRouter, by round robin), seconds, at 90 % of what all carry together."""
    engine = Engine(seats=640, budget=1024)
    slower = [_SLOWER] + [1.0] * (replicas - 1)
    prompts, answers = lengths(queries * replicas)
    one = Simulation(engine, [1.0], prompts[:3000], answers[:3000]).run(lambda _: PushRouter(1), None)
    capacity = 3000 / one * sum(1 / factor for factor in slower)  # queries a second, tail included
    gaps = np.random.default_rng(7).exponential(1 / (_LOAD * capacity), len(prompts))
    arrivals = np.cumsum(gaps).tolist()

    def once(make: Callable[[Clock], Router]) -> float:
        simulation = Simulation(engine, slower, prompts, answers)
        simulation.run(make, arrivals)
        return float(np.percentile(simulation.ttft, 99, method="higher"))

    return once(lambda _: PushRouter(replicas)), once(lambda _: RoundRobin(replicas))


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate and print; 0, or 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Routers with one replica of many 30 % slower, simulated.")
    parser.add_argument("--replicas", type=int, nargs="+", default=[8, 64], help="(default: 8 64)")
    parser.add_argument("--samples", type=int, default=3072, help="a replica (default: %(default)s)")
    parser.add_argument(
        "--depth", type=int, default=2048, help="Offline: most at a replica (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    machine = Machine()
    figures = []
    for replicas in options.replicas:
        pulled, split = offline(replicas, options.samples, options.depth)
        pushed, turns = server(replicas, options.samples)
        figures += [
            Figure(
                f"{replicas} replicas, Offline, over the ideal split",
                pulled / split,
                "",
                _OFFLINE_TARGET,
                True,
                4,
            ),
            Figure(f"{replicas} replicas, Offline, time", pulled, "s", digits=1),
            Figure(
                f"{replicas} replicas, Server, p99 TTFT over round robin's",
                pushed / turns,
                "",
                _SERVER_TARGET,
                True,
                4,
            ),
            Figure(f"{replicas} replicas, Server, p99 TTFT", pushed * 1000, "ms", digits=1),
            Figure(f"{replicas} replicas, Server, p99 TTFT by round robin", turns * 1000, "ms", digits=1),
        ]
    title = f"routing: one replica 30 % slower, {options.samples} samples a replica, depth {options.depth}"
    return report(title, figures, machine.facts(), {}, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
