"""Step times, found again from when tokens came."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness_llm.tune.batching import Noise, StepLimits, simulate
from harness_llm.tune.batching_loop import KNOTS, TERMS
from harness_llm.tune.seen_run import Observed
from harness_llm.tune.step_numbers import StepNumbers
from harness_llm.tune.step_time import costs, equations

LIMITS = StepLimits(step_tokens=512)
TOKENS = TERMS - len(KNOTS)


def _costs() -> np.ndarray:
    """Each further token of a step costs less from 128 on."""
    found = np.zeros(TERMS)
    found[0], found[4] = 0.005, 1e-7
    found[TOKENS:] = [4e-5 if knot < 128 else 1e-5 for knot in KNOTS]
    return found


def _stretches(tokens: int) -> list[float]:
    """Tokens from each knot to the next."""
    return [min(max(tokens - a, 0), b - a) for a, b in zip(KNOTS, (*KNOTS[1:], 1e9), strict=True)]


def _seen(
    limits: StepLimits = LIMITS, qps: float = 25.0, noise: float = 0.0, costs: np.ndarray | None = None
) -> Observed:
    random = np.random.RandomState(3)
    due = np.cumsum(random.exponential(1 / qps, 600))
    prompt, tokens = random.randint(20, 400, 600), random.randint(2, 60, 600)
    first, finish, replica = simulate(
        due, prompt, tokens, _costs() if costs is None else costs, np.ones(1), limits, Noise(noise), 0.0, 1
    )
    return Observed(due, first, finish, replica, np.arange(600), prompt, tokens, float(finish.max()))


@pytest.mark.parametrize("qps", [1.0, 10.0, 40.0])
def test_answers_tell_the_number_of_each_step(qps: float) -> None:
    seen = _seen(qps=qps, noise=0.05)
    steps = StepNumbers.of(seen)
    assert steps.is_exact and len(steps.when) > 500
    made = steps.number[steps.last] - steps.number[steps.first]
    assert (made == seen.tokens - 1).mean() > 0.99
    assert (np.diff(steps.number) >= 0).all() and (np.diff(steps.when) > 0).all()


def test_answers_that_miss_steps_leave_an_estimate() -> None:
    seen = _seen()
    steps = StepNumbers.of(replace(seen, tokens=np.maximum(2, seen.tokens * 2 // 3 + np.arange(600) % 7)))
    assert not steps.is_exact
    made = steps.number[steps.last] - steps.number[steps.first]
    long = seen.tokens > 30
    assert np.median(made[long] / seen.tokens[long]) == pytest.approx(2 / 3, rel=0.2)


@pytest.mark.parametrize("is_ahead", [False, True])
def test_a_token_may_cost_less_in_a_large_step(is_ahead: bool) -> None:
    limits = replace(LIMITS, plans_ahead=is_ahead)
    found, unexplained = costs([equations(_seen(limits, qps), limits) for qps in (8.0, 30.0)])
    assert unexplained < 0.01
    for qps in (15.0, 25.0):
        true, told = _seen(limits, qps), _seen(limits, qps, costs=found)
        for share in (0.5, 0.99):
            assert np.quantile(told.ttft, share) == pytest.approx(np.quantile(true.ttft, share), rel=0.1)
            assert np.quantile(told.tpot, share) == pytest.approx(np.quantile(true.tpot, share), rel=0.05)


def test_steps_larger_than_any_that_was_seen_are_not_free() -> None:
    found, _ = costs([equations(_seen(), LIMITS)])

    def seconds(tokens: int) -> float:
        return float(found @ [1, 20, tokens - 20, tokens / 200, 0, 0, *_stretches(tokens)])

    assert seconds(4096) - seconds(2048) > 0.9 * (2048 / 512) * (seconds(512) - seconds(20)) > 0
