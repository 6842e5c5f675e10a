"""Continuous batching, simulated: O(queries log queries + steps).

A step gives each running answer a token, and starts waiting prompts in order, as far as the step's tokens,
the requests that may run at once and the KV cache reach. All running answers advance together, so when an
answer begins it is known in which step it will end. Where the KV cache is full, the newest answer is
preempted, and recomputed later.

Server queries are *pushed* to the replica with the fewest tokens in flight, those of Offline are *pulled*, as
`loadgen/router.py` does both. What numba compiles is in `batching_loop`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness_llm.tune.batching_loop import ENGINE, QUERY, REPLICA, run
from harness_llm.tune.seen_run import Floats, Integers

BOUNDS = {"max_num_seqs": "requests", "max_num_batched_tokens": "step_tokens", "kv_tokens": "kv_tokens"}
"""What can be set otherwise without a reload, by the name of it in `StepLimits`."""


@dataclass(frozen=True)
class StepLimits:
    """What bounds a step of one replica.

    Attributes:
        requests: Requests that run at once, `max_num_seqs`.
        step_tokens: Tokens of a step, `max_num_batched_tokens`.
        kv_tokens: Tokens that the KV cache holds.
        kv_block: Tokens of a block of it; the last block of a request is half empty on average.
        graphs: Tokens to which a smaller step is padded, ascending: the sizes of the engine's CUDA graphs.
        plans_ahead: Whether a step is planned while the one before it runs (vLLM's asynchronous scheduling),
            so that a prompt joins not the next step but the one after it.
    """

    requests: int = 1024
    step_tokens: int = 8192
    kv_tokens: float = np.inf
    kv_block: int = 1
    graphs: tuple[int, ...] = ()
    plans_ahead: bool = False

    def bounded(self, values: Mapping[str, str]) -> StepLimits:
        """With other bounds, by their names in `BOUNDS`."""
        named: dict[str, Any] = {BOUNDS[key]: int(value) for key, value in values.items()}
        return replace(self, **named)


@dataclass(frozen=True)
class Noise:
    """How step times vary: by a share that lasts (an autoregression), and by rare pauses."""

    share: float = 0.0
    lasting: float = 0.97
    pauses_per_s: float = 0.0
    pause_s: float = 0.3


def simulate(
    due: Floats, prompt: Integers, tokens: Integers, costs: Floats, slowness: Floats, limits: StepLimits,
    noise: Noise, latency_s: float, seed: int, until: float = np.inf, *,
    load: Integers | None = None, pulled: int = 0,
) -> tuple[Floats, Floats, Integers]:  # fmt: skip
    """First-token time, finish time and replica of each query; inf for what comes after `until`.

    Args:
        due: When each query arrives, s, ascending; all at 0 for Offline.
        prompt: Prompt tokens.
        tokens: Answer tokens.
        costs: Seconds of a step, by its `TERMS`.
        slowness: By replica, how many times as long as that its steps take.
        limits: Of each replica.
        noise: Of step times.
        latency_s: Between a step's end and its report.
        seed: Of the noise.
        until: When to stop.
        load: What the router takes each query for, tokens; None for what it is.
        pulled: Queries that a replica holds, of Offline; 0 pushes each when it is due.
    """
    queries = np.zeros(due.size, QUERY)
    queries["due"], queries["prompt"], queries["tokens"] = due, prompt, np.maximum(tokens, 1)
    queries["load"] = prompt + tokens if load is None else load
    queries["first"] = queries["finish"] = np.inf
    fleet = np.zeros(slowness.size, REPLICA)
    fleet["slowness"], fleet["ready"], fleet["cut"] = slowness, np.inf, -1
    fleet["planned"] = np.inf
    random = np.random.RandomState(seed)
    fleet["dice"] = random.randint(2**62, size=slowness.size)
    fleet["calm"] = random.exponential(size=slowness.size)
    engine = np.array(
        [
            (
                limits.requests,
                limits.step_tokens,
                limits.kv_tokens,
                1 + (limits.kv_block - 1) / 2,
                noise.share,
                noise.lasting,
                noise.pauses_per_s,
                noise.pause_s,
                limits.plans_ahead,
            )
        ],
        ENGINE,
    )
    run(queries, fleet, engine, costs, np.array(limits.graphs, np.int64), pulled, seed, float(until))
    return queries["first"] + latency_s, queries["finish"] + latency_s, queries["replica"]
