"""How likely a test ends with no more samples over a limit than may be, if it continues as it went so far.

The samples left are draws from a share that is known as well as the samples done tell it (beta-binomial).
Assumed beforehand is half a sample over the limit (Jeffreys' prior) where latencies already reach it, and the
less, the further the longest one stays below it. Samples over a limit come in bursts, so that counts of 10 s
vary more than draws do, and so many fewer independent samples count (quasi-binomial): eight times fewer until
enough samples are over to measure it.
"""

from __future__ import annotations

import math

import numpy as np

_BLOCK_S = 10.0
_LEAST_BLOCKS = 4
_LEAST_DONE, _LEAST_SHARE = 50, 0.2  # answers from which on a loss is told; share of the test for all else
_LOSS = 0.1
_PRIOR = 0.5
_STEEP = 4  # power of the longest latency, as a share of its limit, by which the prior falls
_BURSTS, _KNOWN_BY = 8.0, 3.0  # what is assumed of bursts, as if by so many samples over the limit


class Odds:
    """Of one limit."""

    def __init__(self) -> None:
        self._done = self._over = 0
        self._block = (-math.inf, 0, 0)  # begin, and what was done and over then
        self._blocks: list[tuple[int, int]] = []

    def take(self, at_s: float, done: int, over: int) -> None:
        """Take in totals: samples complete, and samples over the limit.

        Args:
            at_s: When, monotonic seconds; they come in the order of time.
            done: Samples complete.
            over: Samples over the limit.
        """
        self._done, self._over = done, min(over, done)
        began_s, done_then, over_then = self._block
        if at_s - began_s >= _BLOCK_S:
            if done > done_then and math.isfinite(began_s):
                self._blocks.append((done - done_then, over - over_then))
            self._block = (at_s, done, over)

    @property
    def bursts(self) -> float:
        """How many times more the counts of 10 s vary than single draws would; at least 1."""
        if len(self._blocks) < _LEAST_BLOCKS:
            return _BURSTS
        done, over = np.array(self._blocks, float).T
        share = (over.sum() + _PRIOR) / (done.sum() + 2 * _PRIOR)
        apart = (over - share * done) ** 2 / (done * share * (1 - share))
        seen = max(1.0, float(apart.sum()) / (len(done) - 1))
        return (_KNOWN_BY * _BURSTS + self._over * seen) / (_KNOWN_BY + self._over)

    def within(self, total: int, allowed: int, longest: float = 1.0) -> float | None:
        """Probability that no more than `allowed` of `total` samples are over; None while it is not known.

        Before a fifth of the samples is done, only a loss is known: whatever else was said then was no nearer
        to what came than a constant.

        Args:
            total: Samples that the test will have.
            allowed: How many of them may be over the limit.
            longest: The longest latency so far, as a share of the limit.
        """
        if self._over > allowed:
            return 0.0
        if self._done >= total > 0:
            return 1.0
        if self._done < _LEAST_DONE:
            return None
        bursts = self.bursts
        left, room = round((total - self._done) / bursts), int((allowed - self._over) / bursts)
        prior = max(_PRIOR * min(1.0, longest) ** _STEEP, 1e-6)
        over, good = self._over / bursts + prior, (self._done - self._over) / bursts + _PRIOR
        chance = _at_most(room, left, over, good)
        return chance if chance < _LOSS or self._done >= _LEAST_SHARE * total else None


def _at_most(room: int, left: int, over: float, good: float) -> float:
    """The beta-binomial distribution function."""
    from scipy.special import betaln, gammaln  # loaded where somebody watches a test with limits

    count = np.arange(min(room, left) + 1)
    ways = gammaln(left + 1) - gammaln(count + 1) - gammaln(left - count + 1)
    chances = np.exp(ways + betaln(over + count, good + left - count) - betaln(over, good))
    return min(1.0, float(chances.sum()))
