"""How a run stands against its limits."""

from __future__ import annotations

import numpy as np
from hidden_engine import future as hidden_future


def test_the_limit_that_binds_is_the_nearer_one() -> None:
    future, ones = hidden_future(100, ttft_ms=600, tpot_ms=60, seconds=10), np.ones(500)
    assert future.judge(0.089 * ones, 0.0338 * ones).binds == "TPOT"
    assert future.judge(0.400 * ones, 0.0338 * ones).binds == "TTFT"
    late = np.where(np.arange(500) < 2, 9.0, 0.01)
    assert future.judge(late, 0.055 * ones).binds == "TTFT"
    assert future.judge(late[:100], 0.055 * ones[:100]).binds == "TTFT", "of so few, none may be late"
