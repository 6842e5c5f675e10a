"""How many queries of a Server run may exceed a latency limit.

LoadGen asks whether so few over-limit queries could be chance although the true share within the limit is
only the percentile (mlcommons/inference @b66003e1 loadgen/early_stopping.cc lines 58-84, used by
loadgen/results.cc lines 227-247 with confidence 0.99 and tolerance 0). For n queries with t over the limit
that is the binomial distribution function P(X <= t), X ~ B(n, 1 - percentile), which must stay below
1 - confidence.
"""

from __future__ import annotations

import math

SHORT_TEST_OVER = 2
"""Queries of the shortest test of an own benchmark that may be over a limit, where nobody says otherwise."""
_NEGLIGIBLE_SIGMAS = 12.0


def max_over_limit(queries: int, percentile: float = 0.99, confidence: float = 0.99) -> int:
    """The most queries that may exceed a limit, or -1 where even none over the limit is too few queries.

    Args:
        queries: Queries issued.
        percentile: Share that must be within the limit, 0..1.
        confidence: Confidence of the test, 0..1.
    """
    if queries <= 0:
        return -1
    over = 1.0 - percentile
    mean = queries * over
    # Terms this far below the mean are beneath the precision of a double.
    start = max(0, math.floor(mean - _NEGLIGIBLE_SIGMAS * math.sqrt(mean * percentile)))
    log_term = (
        math.lgamma(queries + 1)
        - math.lgamma(start + 1)
        - math.lgamma(queries - start + 1)
        + start * math.log(over)
        + (queries - start) * math.log(percentile)
    )
    term = math.exp(log_term)
    total, count = term, start
    while total < 1.0 - confidence and count < queries:
        count += 1
        term *= (queries - count + 1) / count * over / percentile
        total += term
    return count - 1


def min_queries(over_limit: int, percentile: float = 0.99, confidence: float = 0.99) -> int:
    """The fewest queries with which `over_limit` of them may exceed the limit.

    Args:
        over_limit: Queries over the limit.
        percentile: Share that must be within the limit, 0..1.
        confidence: Confidence of the test, 0..1.
    """
    low, high = over_limit, max(1, over_limit)
    while max_over_limit(high, percentile, confidence) < over_limit:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if max_over_limit(middle, percentile, confidence) >= over_limit:
            high = middle
        else:
            low = middle
    return high
