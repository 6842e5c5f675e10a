"""Which step of an engine ended when, told from events alone: no trace of steps, no change of the engine.

All running answers advance together, so the last token of an answer comes tokens - 1 steps after its first.
Tokens that come together are of one step. So answers that share a step at either end tie its number to those
of the steps at their other ends, and in a run of some load nearly all steps are tied together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numba import njit

from harness_llm.tune.seen_run import Floats, Integers, Observed

_UPDATES = 12
# How far apart tokens of one step come: when reported, and in the replica; and never more than a share of it.
_TOGETHER_S, _STAMPED_S = 0.004, 0.0015
_SHARE_OF_A_STEP = 0.3
# Share of answers that contradict others, as those that gave way do, from which on numbers are estimates.
_MOST_WRONG = 0.05


@dataclass(frozen=True, eq=False)
class StepNumbers:
    """When first or last tokens of a replica came, and the number of the step that ended then.

    Attributes:
        when: Moments, s by the clock of the run, ascending.
        number: Of the step.
        first: Moment of the first token of each query that has one.
        last: Moment of the last token of each finished query.
        is_exact: Whether the answers agree about the numbers.
    """

    when: Floats
    number: Integers
    first: Integers
    last: Integers
    is_exact: bool

    @classmethod
    def of(cls, seen: Observed) -> Self:
        """Of what one replica did.

        Args:
            seen: At least one query of it is finished.
        """
        started, done = np.isfinite(seen.first), seen.done
        begin, end, apart = seen.first[started], seen.finish[done], _TOGETHER_S
        if seen.batches is not None:
            stamps = seen.batches / 1e9
            shift = float(np.median(stamps[started, 0] - begin))
            begin, end, apart = stamps[started, 0] - shift, stamps[done, 1] - shift, _STAMPED_S
        steps = np.maximum(seen.tokens[done] - 1, 0)
        a_step = (seen.finish[done] - seen.first[done])[steps > 0] / steps[steps > 0]
        apart = min(apart, _SHARE_OF_A_STEP * float(np.median(a_step))) if a_step.size else apart
        times = np.concatenate((begin, end))
        order = np.argsort(times, kind="stable")
        group = np.zeros(len(times), np.int64)
        group[order] = np.cumsum(np.diff(times[order], prepend=times[order[0]]) > apart)
        when = np.full(int(group.max()) + 1, np.inf)
        np.minimum.at(when, group, times)
        first, last = group[: len(begin)], group[len(begin) :]
        number, is_exact = _numbered(when, first[done[started]], last, steps)
        return cls(when, number, first, last, is_exact)


def _numbered(when: Floats, first: Integers, last: Integers, steps: Integers) -> tuple[Integers, bool]:
    about = _estimated(when, first, last, steps)
    misses = np.abs(about[last] - about[first] - steps)
    order = np.argsort(misses, kind="stable")
    root, offset = _tied(len(when), first[order], last[order], steps[order])
    most = root == np.bincount(root).argmax()
    near = about + np.interp(when, when[most], offset[most] - about[most])
    count = np.maximum(np.bincount(root, minlength=len(when)), 1)
    shift = np.rint(np.bincount(root, near - offset, len(when)) / count).astype(np.int64)
    found: Integers = np.maximum.accumulate(offset + shift[root])
    if (found[last] - found[first] != steps).mean() <= _MOST_WRONG:
        return found, True
    return np.maximum.accumulate(np.rint(about).astype(np.int64)), False


@njit(cache=True, nogil=True)
def _tied(count, first, last, steps):  # type: ignore[no-untyped-def]
    """The root of each moment, and its number relative to that, by answers in turn; the first ones count."""
    parent, offset = np.arange(count), np.zeros(count, np.int64)
    for k in range(len(first)):
        a, b = first[k], last[k]
        for at in (a, b):  # shorten the ways to their roots
            top, total = at, 0
            while parent[top] != top:
                total += offset[top]
                top = parent[top]
            while parent[at] != top and at != top:
                above, own = parent[at], offset[at]
                parent[at], offset[at] = top, total
                total -= own
                at = above
        here, there = parent[a], parent[b]
        behind = offset[a] + steps[k] - offset[b]
        if here != there:
            parent[there], offset[there] = here, behind
    for at in range(count):
        top, total = at, 0
        while parent[top] != top:
            total += offset[top]
            top = parent[top]
        parent[at], offset[at] = top, total
    return parent, offset


def _held(start: Floats, end: Floats, weight: Floats, edges: Floats) -> Floats:
    """Integral, over each bin between edges, of the sum of the weights whose windows are open."""
    at = np.concatenate((start, end))
    change = np.concatenate((weight, -weight))
    order = np.argsort(at, kind="stable")
    at, height = at[order], np.cumsum(change[order])
    area = np.concatenate(([0.0], np.cumsum(height[:-1] * np.diff(at))))
    return np.diff(np.interp(edges, at, area))


def _estimated(when: Floats, first: Integers, last: Integers, steps: Integers) -> Floats:
    """Number of the step at each moment, by a rate of steps over time (list-mode EM)."""
    kept = (steps > 0) & (when[last] > when[first])
    begin, end, made = when[first[kept]], when[last[kept]], steps[kept].astype(np.float64)
    if not made.size:
        return np.zeros(len(when))
    width = float(np.clip(np.median(end - begin) / 20, 0.02, 1.0))
    edges = np.arange(when[0], when[-1] + 2 * width, width)
    open_s = _held(begin, end, np.ones(len(made)), edges)
    rate = np.full(len(edges) - 1, float(np.median(made / (end - begin))))
    for _ in range(_UPDATES):
        total = np.concatenate(([0.0], np.cumsum(rate * width)))
        told = np.interp(end, edges, total) - np.interp(begin, edges, total)
        seen = _held(begin, end, made / np.maximum(told, 1e-9), edges)
        rate *= np.where(open_s > 0, seen / np.maximum(open_s, 1e-12), 1.0)
    found: Floats = np.interp(when, edges, np.concatenate(([0.0], np.cumsum(rate * width))))
    return found
