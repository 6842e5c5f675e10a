"""Continuous batching, simulated: O(queries log queries + steps).

A step gives each running answer a token, and begins waiting prompts in order, as far as the step's tokens,
the requests that may run at once and the KV cache reach. All running answers advance together, so when an
answer begins it is known in which step it will end. Where the KV cache is full, the youngest answer gives
way, and is computed again later.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numba import njit

from harness_llm.tune.seen_run import Floats, Integers

KNOTS = (8.0, 16.0, 32.0, 64.0, 96.0, 128.0, 192.0, 256.0, 384.0, 512.0, 768.0, 1024.0)
"""Tokens of a step from which on each further one may cost more."""
TERMS = 6 + len(KNOTS)
"""Of a step's time: 1, running answers, prompt tokens, prompts, context, prompt attention, tokens by knot."""

_KNOTS = np.array(KNOTS)


@dataclass(frozen=True)
class StepLimits:
    """What bounds a step of one replica.

    Attributes:
        requests: Requests that run at once, `max_num_seqs`.
        step_tokens: Tokens of a step, `max_num_batched_tokens`.
        kv_tokens: Tokens that the KV cache holds.
    """

    requests: int = 1024
    step_tokens: int = 8192
    kv_tokens: float = np.inf


@dataclass(frozen=True)
class Noise:
    """How step times vary: by a share that lasts (an autoregression), and by rare pauses."""

    share: float = 0.0
    lasting: float = 0.97
    pauses_per_s: float = 0.0
    pause_s: float = 0.3


def simulate(
    due: Floats, prompt: Integers, tokens: Integers, costs: Floats, speeds: Floats, limits: StepLimits,
    noise: Noise, latency_s: float, seed: int, until: float = np.inf,
) -> tuple[Floats, Floats, Integers]:  # fmt: skip
    """First-token time, finish time and replica of each query; inf for what comes after `until`.

    Args:
        due: When each query arrives, s, ascending; all at 0 for Offline.
        prompt: Prompt tokens.
        tokens: Answer tokens.
        costs: Seconds of a step, by its `TERMS`.
        speeds: By replica, how much longer than that its steps take.
        limits: Of each replica.
        noise: Of step times.
        latency_s: Between a step's end and its report.
        seed: Of the noise.
        until: When to stop.
    """
    first, finish, replica = _run(
        due,
        prompt.astype(np.int64),
        np.maximum(tokens, 1).astype(np.int64),
        costs,
        speeds,
        limits.requests,
        limits.step_tokens,
        float(min(limits.kv_tokens, 1e18)),
        noise.share,
        noise.lasting,
        noise.pauses_per_s,
        noise.pause_s,
        seed,
        float(until),
    )
    return first + latency_s, finish + latency_s, replica


@njit(cache=True, nogil=True)
def _run(due, prompt, tokens, costs, speeds, most, budget, kv, share, lasting, pauses, pause_s, seed, until):  # type: ignore[no-untyped-def]
    np.random.seed(seed)  # noqa: NPY002 - numba's own generator
    count, replicas = due.size, speeds.size
    first, finish = np.full(count, np.inf), np.full(count, np.inf)
    replica = np.zeros(count, np.int64)
    made = np.zeros(count, np.int64)  # tokens of an answer that was computed before it gave way
    ends = [[(0, 0)] for _ in range(replicas)]  # of the running answers: last step and query
    waits = [[(0, 0)] for _ in range(replicas)]  # in the order of arrival
    begun = [[(0, 0)] for _ in range(replicas)]  # running, youngest first; with entries of those that ended
    new = [[0] for _ in range(replicas)]  # whose prompts end in the step that runs
    for r in range(replicas):
        ends[r].clear()
        waits[r].clear()
        begun[r].clear()
        new[r].clear()  # noqa: E702 - typed by one element
    cut = np.full(replicas, -1, np.int64)  # the prompt that the budget cut, and how much of it is done
    cut_done, step = np.zeros(replicas, np.int64), np.zeros(replicas, np.int64)
    ready, context, load = np.full(replicas, np.inf), np.zeros(replicas), np.zeros(replicas)
    drift, started = np.zeros(replicas), np.zeros(count, np.int64)
    arrived = 0
    while True:
        r = int(np.argmin(ready))
        if arrived < count and due[arrived] <= ready[r]:
            r = int(np.argmin(load))
            replica[arrived] = r
            load[r] += prompt[arrived] + tokens[arrived]
            heapq.heappush(waits[r], (arrived, arrived))
            now = due[arrived]
            arrived += 1
            if ready[r] != np.inf:
                continue
        else:
            if ready[r] == np.inf or ready[r] > until:
                break
            now = ready[r]
            step[r] += 1
            context[r] += len(ends[r])
            while len(ends[r]) > 0 and ends[r][0][0] <= step[r]:
                _, q = heapq.heappop(ends[r])
                finish[q] = now
                context[r] -= prompt[q] + tokens[q]
                load[r] -= prompt[q] + tokens[q]
            for q in new[r]:
                first[q] = min(first[q], now)
                made[q] += 1
                if made[q] >= tokens[q]:
                    finish[q] = now
                    load[r] -= prompt[q] + tokens[q]
                else:
                    started[q] = step[r]
                    heapq.heappush(ends[r], (step[r] + tokens[q] - made[q], q))
                    heapq.heappush(begun[r], (-q, q))
                    context[r] += prompt[q] + made[q]
            new[r].clear()
            while context[r] + len(ends[r]) > kv and len(ends[r]) > 1:
                _, q = heapq.heappop(begun[r])
                if finish[q] == np.inf:
                    last = step[r]
                    for place in range(len(ends[r])):
                        if ends[r][place][1] == q:
                            last = ends[r][place][0]
                            ends[r][place] = ends[r][-1]
                            ends[r].pop()
                            heapq.heapify(ends[r])
                            break
                    made[q] = tokens[q] - (last - step[r])
                    context[r] -= prompt[q] + made[q]
                    heapq.heappush(waits[r], (q, q))
        running = len(ends[r])
        left, here, work, prompts, attention = budget - running, running, 0.0, 0.0, 0.0
        if cut[r] >= 0:
            q = cut[r]
            here += 1
            take = min(left, prompt[q] + made[q] - cut_done[r])
            if take > 0:
                work += take
                attention += take * (cut_done[r] + 0.5 * take)
                prompts += 1
                left -= take
                cut_done[r] += take
                if cut_done[r] >= prompt[q] + made[q]:
                    new[r].append(q)
                    cut[r] = -1
        taken = context[r] + work
        while cut[r] < 0 and len(waits[r]) > 0 and left > 0 and here < most:
            q = waits[r][0][1]
            whole = prompt[q] + made[q]
            if taken + whole + running > kv and here > 0:
                break
            heapq.heappop(waits[r])
            taken += whole
            here += 1
            take = min(left, whole)
            work += take
            attention += 0.5 * take * take
            prompts += 1
            left -= take
            if take >= whole:
                new[r].append(q)
            else:
                cut[r], cut_done[r] = q, take
        if running == 0 and work == 0:
            ready[r] = np.inf
            continue
        seconds = (
            costs[0]
            + costs[1] * running
            + costs[2] * work
            + costs[3] * prompts
            + costs[4] * context[r]
            + costs[5] * attention
        )
        for k in range(_KNOTS.size):
            seconds += costs[6 + k] * max(0.0, running + work - _KNOTS[k])
        seconds *= speeds[r]
        if share > 0:
            drift[r] = lasting * drift[r] + np.sqrt(1 - lasting * lasting) * share * np.random.randn()  # noqa: NPY002
            seconds *= np.exp(drift[r])
        if pauses > 0 and np.random.rand() < pauses * seconds:  # noqa: NPY002
            seconds += pause_s * np.random.exponential()  # noqa: NPY002
        ready[r] = now + seconds
    return first, finish, replica
