"""Step times from events alone: what each step did, and what that costs.

Each answer is one equation: its duration is the sum, over its steps, of what the steps did times what that
costs; solved by non-negative least squares on relative errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from harness_llm.errors import EngineError
from harness_llm.tune.batching import StepLimits
from harness_llm.tune.batching_loop import KNOTS, TERMS, WIDTHS, did
from harness_llm.tune.seen_run import LEAST_DONE, Floats, Integers, Observed
from harness_llm.tune.step_numbers import StepNumbers

_RIDGE = 1e-7  # keeps terms that rise and fall together apart
_TOKENS = TERMS - len(KNOTS)  # from which term on they are of tokens from one knot to the next
_LEAST_SEEN = 0.005  # share of steps that must reach a stretch of tokens for its own cost to be told


@dataclass(frozen=True, eq=False)
class Equations:
    """One equation for each finished answer of one replica.

    Attributes:
        did: What its steps did, by `batching.TERMS`; shape (answers, terms).
        took: How long it took from its first token to its last, s.
        ended: When it ended, s.
        steps: What the steps did from one moment at which tokens were seen to the next, where the engine was
            busy; shape (moments, terms).
        lasted: How long that was, s.
    """

    did: Floats
    took: Floats
    ended: Floats
    steps: Floats
    lasted: Floats


def equations(seen: Observed, limits: StepLimits) -> Equations:
    """The equations of what one replica did.

    Args:
        seen: Of one replica.
        limits: Of a step.
    """
    started, done = np.isfinite(seen.first), seen.done
    steps = StepNumbers.of(seen)
    first, last = steps.first[done[started]], steps.last
    running, context = _before(seen, steps)
    order = np.lexsort((seen.due[started], steps.first))
    made = did(
        steps.when, steps.number, np.searchsorted(steps.first[order], np.arange(len(steps.when) + 1)),
        seen.prompt[started][order], seen.due[started][order], running, context,
        limits.step_tokens, np.array(limits.graphs, np.int64), limits.plans_ahead,
    )  # fmt: skip
    total = np.concatenate((np.zeros((1, TERMS)), np.cumsum(made, axis=0)))
    kept = (last > first) & (seen.tokens[done] > 1)
    sums = (total[last + 1] - total[first + 1])[kept]
    sums[:, 0] = seen.tokens[done][kept] - 1
    took, busy = (steps.when[last] - steps.when[first])[kept], running[1:] > 0
    return Equations(sums, took, seen.finish[done][kept], made[1:][busy], np.diff(steps.when)[busy])


def _before(seen: Observed, steps: StepNumbers) -> tuple[Integers, Floats]:
    """Answers that ran, and tokens that they held, before the step that ended at each moment."""
    started, done, count = np.isfinite(seen.first), seen.done, len(steps.when)
    begun, ended = steps.first, steps.last
    prompt = seen.prompt.astype(np.float64)

    def open_(of_begun: Floats, of_ended: Floats) -> Floats:
        change = np.bincount(begun, of_begun, count) - np.bincount(ended, of_ended, count)
        return np.concatenate(([0.0], np.cumsum(change)[:-1]))

    number = steps.number.astype(np.float64)
    since = number[begun]
    running = open_(np.ones(len(begun)), np.ones(len(ended)))
    held = open_(prompt[started] - since, prompt[done] - since[done[started]])
    return running.astype(np.int64), np.maximum(held + running * np.concatenate(([0.0], number[:-1])), 0.0)


def costs(parts: Sequence[Equations]) -> tuple[Floats, float]:
    """Seconds of a step by its terms, and the relative spread of what they leave unexplained.

    Raises:
        EngineError: Too little was answered to learn from.
    """
    if sum(len(part.took) for part in parts) < LEAST_DONE:
        raise EngineError("too few answers to learn step times from", "Give longer runs with --from.")
    seen = np.vstack([part.did for part in parts])
    last = _last_seen(seen)
    seen[:, last] += seen[:, last + 1 :].sum(1)
    seen[:, last + 1 :] = 0
    did = seen / np.concatenate([part.took for part in parts])[:, None]
    scale = np.maximum(did.max(0), 1e-30)
    scaled = did / scale
    normal = scaled.T @ scaled
    factor = np.linalg.cholesky(normal + _RIDGE * np.trace(normal) / TERMS * np.eye(TERMS))
    found, _ = nnls(factor.T, np.linalg.solve(factor, scaled.sum(0)))
    result: Floats = found / scale
    unexplained = float(np.std(did @ result - 1))
    if last + 1 < TERMS:  # larger steps than any that was seen
        widths = WIDTHS[: last + 1 - _TOKENS]
        mean = (result[_TOKENS : last + 1] * widths).sum() / widths.sum()
        result[last + 1 :] = max(result[last], mean)
    return result, unexplained


def _last_seen(seen: Floats) -> int:
    """The last term whose stretch of tokens enough steps reached."""
    share = seen[:, _TOKENS:].sum(0) / (seen[:, 0].sum() * WIDTHS)
    reached = np.flatnonzero(share >= _LEAST_SEEN)
    return _TOKENS + int(reached[-1] if reached.size else 0)
