from __future__ import annotations

import math

import pytest

from harness_llm.logs.early_stopping import max_over_limit, min_queries


# Values of LoadGen's MinPassingQueriesFinder at percentile 0.99, confidence 0.99, tolerance 0.
@pytest.mark.parametrize(
    ("queries", "allowed"),
    [
        (0, -1),
        (1, -1),
        (458, -1),
        (459, 0),
        (661, 0),
        (662, 1),
        (13_368, 107),
        (24_576, 209),
        (49_152, 440),
        (98_304, 910),
        (196_608, 1_863),
    ],
)
def test_known_values(queries: int, allowed: int) -> None:
    assert max_over_limit(queries) == allowed


def test_agrees_with_the_binomial_distribution_summed_exactly() -> None:
    for queries in (459, 500, 700, 1_000, 2_500):
        total, over = 0.0, 0
        while (total := total + math.comb(queries, over) * 0.01**over * 0.99 ** (queries - over)) < 0.01:
            over += 1
        assert max_over_limit(queries) == over - 1


def test_more_queries_never_allow_fewer_and_min_queries_is_the_inverse() -> None:
    allowed = [max_over_limit(queries) for queries in range(400, 3_000)]
    assert allowed == sorted(allowed)
    for over in (0, 1, 5, 209, 440):
        queries = min_queries(over)
        assert max_over_limit(queries) == over
        assert max_over_limit(queries - 1) == over - 1


def test_a_million_queries_do_not_underflow() -> None:
    assert 9_700 < max_over_limit(1_000_000) < 10_000


def test_offline_percentile() -> None:
    assert max_over_limit(64, percentile=0.9) == 1  # 0.9**64 + 64 * 0.1 * 0.9**63 = 0.0096
