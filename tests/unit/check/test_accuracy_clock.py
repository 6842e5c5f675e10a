"""How long an accuracy run of Server must have taken at least, by what LoadGen logs of its schedule."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness_llm.check.accuracy import _least_seconds


@pytest.mark.parametrize(("queries", "share"), [(63, 0.8), (24_576, 0.985)])
def test_a_run_that_waits_for_its_last_query_is_long_enough(queries: int, share: float) -> None:
    for seed in range(200):
        gaps_s = np.random.default_rng(seed).exponential(1.0, queries + 1)
        logged: dict[str, Any] = {
            "generated_query_duration": gaps_s.sum() * 1e9, "generated_query_count": queries,
        }  # fmt: skip
        detail = SimpleNamespace(number=logged.get, integer=logged.get)
        case: Any = SimpleNamespace(scenario=SimpleNamespace(is_timed_per_token=True), accuracy_detail=detail)
        least, _ = _least_seconds(case)
        assert least is not None and share * gaps_s.sum() < least < gaps_s[:-1].sum()
