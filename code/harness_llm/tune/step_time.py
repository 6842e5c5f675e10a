"""Step times from events alone: no trace of steps, no change of the engine.

All running answers advance together, so an answer has seen tokens - 1 steps between its first and its last
token. From that the rate of steps over time is recovered (multiplicative updates, as in list-mode
tomography). Then each answer is one equation: its duration is the sum, over its steps, of what the steps did
times what that costs; solved by non-negative least squares on relative errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from harness_llm.errors import EngineError
from harness_llm.tune.batching import TERMS, StepLimits
from harness_llm.tune.batching_loop import KNOTS
from harness_llm.tune.seen_run import LEAST_DONE, Floats, Observed

_UPDATES = 12
_TOGETHER_S = 0.004  # first tokens that come so close to each other are of one step
_SAME_BATCH_S = (
    0.0005  # those of one batch of the engine's outputs may be taken over by a few turns of a loop
)
_RIDGE = 1e-7  # keeps terms that rise and fall together apart


def _cumulative(values: Floats) -> Floats:
    return np.concatenate(([0.0], np.cumsum(values)))


def _held(start: Floats, end: Floats, weight: Floats, edges: Floats) -> Floats:
    """Integral, over each bin between edges, of the sum of the weights whose windows are open."""
    at = np.concatenate((start, end))
    change = np.concatenate((weight, -weight))
    order = np.argsort(at, kind="stable")
    at, height = at[order], np.cumsum(change[order])
    area = np.concatenate(([0.0], np.cumsum(height[:-1] * np.diff(at))))
    return np.diff(np.interp(edges, at, area))


@dataclass(frozen=True, eq=False)
class Equations:
    """One equation for each finished answer of one replica.

    Attributes:
        did: What its steps did, by `batching.TERMS`; shape (answers, terms).
        took: How long it took from its first token to its last, s.
        ended: When it ended, s.
        largest: Most answers that ran at once.
    """

    did: Floats
    took: Floats
    ended: Floats
    largest: float


def equations(seen: Observed, limits: StepLimits) -> Equations:
    """The equations of what one replica did.

    Args:
        seen: Of one replica.
        limits: Of a step.
    """
    ok = seen.done & (seen.tokens > 1) & (seen.finish > seen.first)
    started = np.isfinite(seen.first)
    first, finish, steps = seen.first[ok], seen.finish[ok], seen.tokens[ok] - 1.0
    took = finish - first
    width = float(np.clip(np.median(took) / 20, 0.02, 1.0))
    edges: Floats = np.arange(0.0, seen.until + 2 * width, width, dtype=np.float64)

    def within(values: Floats) -> Floats:
        """Integral over each answer's window of a quantity given by bin, per second."""
        total = _cumulative(values * width)
        return np.interp(finish, edges, total) - np.interp(first, edges, total)

    open_s = _held(first, finish, np.ones(len(steps)), edges)
    rate = np.full(len(edges) - 1, float(np.median(steps / took)))
    for _ in range(_UPDATES):
        ratio = steps / np.maximum(within(rate), 1e-9)
        seen_ratio = _held(first, finish, ratio, edges)
        rate *= np.where(open_s > 0, seen_ratio / np.maximum(open_s, 1e-12), 1.0)

    begin, end, prompt = (
        seen.first[started],
        np.minimum(seen.finish[started], seen.until),
        seen.prompt[started],
    )
    total = _cumulative(rate * width)
    made_before = np.interp(begin, edges, total)
    running = _held(begin, end, np.ones(len(begin)), edges) / width
    middle = np.interp((edges[:-1] + edges[1:]) / 2, edges, total)
    context = np.maximum(_held(begin, end, prompt - made_before, edges) / width + running * middle, 0.0)

    # Steps with prompts are known one by one: first tokens that come together end one.
    batch = None if seen.batch is None else seen.batch[started]
    is_stamped = batch is not None and bool(batch.all())
    stamps = batch / 1e9 if batch is not None and is_stamped else begin
    order = np.argsort(stamps, kind="stable")
    times, lengths = begin[order], prompt[order].astype(float)
    apart = np.diff(stamps[order]) > (_SAME_BATCH_S if is_stamped else _TOGETHER_S)
    group = np.concatenate(([0], np.cumsum(apart))).astype(np.int64)
    when = np.zeros(group[-1] + 1)
    np.maximum.at(when, group, times)
    when = np.maximum.accumulate(when)
    work: Floats = np.bincount(group, weights=lengths).astype(np.float64)
    prompts = np.bincount(group).astype(np.float64)
    attention: Floats = np.bincount(group, weights=0.5 * lengths * lengths).astype(np.float64)
    beside = running[np.minimum((when / width).astype(np.int64), len(running) - 1)]

    def inside(values: Floats) -> Floats:
        """Sum of a quantity of the steps with prompts that lie in each answer's window."""
        sums = _cumulative(values)
        return (
            sums[np.searchsorted(when, finish, "right")]
            - sums[np.searchsorted(when, first + _TOGETHER_S, "right")]
        )

    padded = limits.padded(running)
    did = np.zeros((len(steps), TERMS))
    did[:, 0], did[:, 1], did[:, 4] = steps, within(padded * rate), within(context * rate)
    did[:, 2], did[:, 3], did[:, 5] = inside(work), inside(prompts), inside(attention)
    room = np.maximum(limits.step_tokens - beside, 1.0)
    chunks = np.floor(work / room)
    rest = work - chunks * room
    decode, mixed = limits.padded(beside), limits.padded(beside + rest)
    did[:, 1] += inside(mixed - rest - decode)
    for place, knot in enumerate(KNOTS):
        alone = np.maximum(0.0, decode - knot)
        last = np.where(rest > 0, np.maximum(0.0, mixed - knot), alone)
        extra = chunks * max(0.0, limits.step_tokens - knot) + last - (chunks + 1) * alone
        did[:, 6 + place] = within(np.maximum(0.0, padded - knot) * rate) + inside(extra)
    return Equations(did, took, finish, float(running.max()))


def costs(parts: Sequence[Equations]) -> tuple[Floats, float]:
    """Seconds of a step by its terms, and the relative spread of what they leave unexplained.

    Raises:
        EngineError: Too little was answered to learn from.
    """
    if sum(len(part.took) for part in parts) < LEAST_DONE:
        raise EngineError("too few answers to learn step times from", "Give longer runs with --from.")
    did = np.vstack([part.did / part.took[:, None] for part in parts])
    scale = np.maximum(did.max(0), 1e-30)
    scaled = did / scale
    normal = scaled.T @ scaled
    factor = np.linalg.cholesky(normal + _RIDGE * np.trace(normal) / TERMS * np.eye(TERMS))
    found, _ = nnls(factor.T, np.linalg.solve(factor, scaled.sum(0)))
    result: Floats = found / scale
    return result, float(np.std(did @ result - 1))
