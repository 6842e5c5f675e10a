"""Continuous batching as it is simulated: what bounds a step, what it costs, and which replica answers."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from harness_llm.loadgen.router import PullRouter, PushRouter
from harness_llm.tune.batching import Noise, StepLimits, simulate
from harness_llm.tune.batching_loop import TERMS


def _costs() -> np.ndarray:
    costs = np.zeros(TERMS)
    costs[0] = 0.01
    return costs


def _simulate(
    limits: StepLimits, prompt: list[int], tokens: list[int], **terms: float
) -> tuple[np.ndarray, ...]:
    due = np.zeros(len(prompt))
    return simulate(due, np.array(prompt), np.array(tokens), _costs(), np.ones(1), limits, Noise(), 0.0, 1)


def test_a_step_is_bounded_by_requests_tokens_and_the_kv_cache() -> None:
    first, finish, _ = _simulate(StepLimits(), [5, 5], [3, 3])
    assert first.tolist() == pytest.approx([0.01, 0.02]) and finish.tolist() == pytest.approx([0.03, 0.04])
    first, finish, _ = _simulate(StepLimits(requests=1), [5, 5], [3, 3])
    assert first.tolist() == pytest.approx([0.01, 0.04]) and finish.tolist() == pytest.approx([0.03, 0.06])
    first, _, _ = _simulate(StepLimits(step_tokens=5), [12, 2], [3, 3])
    assert first.tolist() == pytest.approx([0.03, 0.03])
    first, finish, _ = _simulate(StepLimits(kv_tokens=9), [5, 5], [3, 3])
    assert first[1] >= finish[0]
    first, finish, _ = _simulate(StepLimits(kv_tokens=14), [5, 5], [6, 6])
    assert finish[0] == pytest.approx(0.06) and finish[1] > 0.08, (
        "the youngest gave way, and was computed again"
    )
    assert first[1] == pytest.approx(0.02), "and its first token stays where it was"


def test_the_least_loaded_replica_answers_and_a_slow_one_takes_longer() -> None:
    due, prompt, tokens = np.zeros(4), np.full(4, 5), np.full(4, 3)
    _, finish, replica = simulate(
        due, prompt, tokens, _costs(), np.array([1.0, 2.0]), StepLimits(), Noise(), 0.0, 1
    )
    assert replica.tolist() == [0, 1, 0, 1]
    assert finish[1] == pytest.approx(2 * finish[0])


def test_the_last_block_of_the_kv_cache_is_half_empty() -> None:
    first, finish, _ = _simulate(StepLimits(kv_tokens=24), [5, 5], [6, 6])
    assert max(finish) < 0.08, "both fit"
    first, finish, _ = _simulate(StepLimits(kv_tokens=24, kv_block=9), [5, 5], [6, 6])
    assert first[1] < finish[0] < 0.08 < finish[1], "each takes four tokens more"


def test_a_step_that_is_planned_ahead_has_only_what_had_come_by_then() -> None:
    """vLLM's asynchronous scheduling: what arrives during a step joins not the next but the one after it."""
    due, prompt, tokens = np.array([0.0, 0.005, 0.2]), np.full(3, 5), np.full(3, 9)
    for is_ahead, expected in ((False, [0.01, 0.02, 0.21]), (True, [0.01, 0.03, 0.21])):
        limits = StepLimits(plans_ahead=is_ahead)
        first, *_ = simulate(due, prompt, tokens, _costs(), np.ones(1), limits, Noise(), 0.0, 1)
        assert first.tolist() == pytest.approx(expected), "an idle engine begins at once"


def test_a_step_is_padded_to_the_next_graph() -> None:
    costs = _costs()
    costs[1] = 0.001
    arguments = np.zeros(1), np.array([6]), np.array([3]), costs, np.ones(1)
    took = [
        simulate(*arguments, StepLimits(graphs=graphs), Noise(), 0.0, 1)[1].max()
        for graphs in ((), (1,), (1, 6), (4, 8))
    ]
    assert took[:3] == pytest.approx([0.032] * 3), "above the largest, and where one fits, nothing is padded"
    assert took[3] == pytest.approx(0.03 + 0.002 + 2 * 0.004), "6 prompt tokens to 8, an answer's one to 4"


@pytest.mark.parametrize("held", [0, 1, 3])
def test_replicas_are_chosen_as_the_router_of_a_run_chooses(held: int) -> None:
    """Each replica answers one query at a time, so that when it ends is known without batching."""
    random = np.random.RandomState(3)
    count, speeds = 60, np.array([1.0, 1.7, 0.9])
    tokens, prompt = random.randint(1, 9, count), random.randint(1, 9, count)
    due = np.zeros(count) if held else np.sort(random.uniform(0, 1, count))
    router = PullRouter([held] * 3) if held else PushRouter(3)
    wanted, free, ends = np.zeros(count, int), [0.0] * 3, list[tuple[float, int, int]]()

    def give(assignments: list[tuple[int, list[int]]], now: float) -> None:
        for replica, queries in assignments:
            for query in queries:
                wanted[query] = replica
                free[replica] = max(free[replica], now) + 0.01 * speeds[replica] * tokens[query]
                heapq.heappush(ends, (free[replica], replica, query))

    def end_until(time: float) -> None:
        while ends and ends[0][0] < time:
            now, replica, query = heapq.heappop(ends)
            give(router.release(replica, [query]), now)

    if held:
        give(router.assign(range(count), prompt.tolist()), 0.0)
    else:
        for query in range(count):
            end_until(due[query])
            give(router.assign([query], [int(prompt[query])]), float(due[query]))
    end_until(np.inf)
    first, finish, replica = simulate(
        due, prompt, tokens, _costs(), speeds, StepLimits(requests=1), Noise(), 0.0, 1,
        load=prompt, pulled=held,
    )  # fmt: skip
    assert np.isfinite(first).all() and len(set(wanted)) == 3
    assert replica.tolist() == wanted.tolist()
    assert finish.max() == pytest.approx(max(free))
