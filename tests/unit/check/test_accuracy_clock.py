"""An accuracy run of Server takes at least until its last query is due, by its own seed and rate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness_llm.check.accuracy import _least_seconds
from harness_llm.logs.schedule import arrivals_ns


@pytest.mark.parametrize(("queries", "asked"), [(63, 1.6), (24_576, None)])
def test_a_run_lasts_until_its_last_query_is_due(queries: int, asked: float | None) -> None:
    logged: dict[str, Any] = {
        "effective_schedule_rng_seed": 16159082839903944936, "effective_target_qps": 1.6,
        "generated_query_count": queries,
    }  # fmt: skip
    detail = SimpleNamespace(number=logged.get, integer=logged.get)
    case: Any = SimpleNamespace(
        scenario=SimpleNamespace(is_timed_per_token=True),
        accuracy_detail=detail,
        settings={"target_qps": asked},
    )
    due_s = arrivals_ns(16159082839903944936, 1.6, queries)[-1] / 1e9
    least, why = _least_seconds(case)
    assert least is not None and due_s - 0.2 < least < due_s and str(queries) in why


def test_a_log_without_a_schedule_is_not_judged_by_it() -> None:
    detail = SimpleNamespace(number=lambda _: None, integer=lambda _: None)
    case: Any = SimpleNamespace(
        scenario=SimpleNamespace(is_timed_per_token=True), accuracy_detail=detail, settings={}
    )
    assert _least_seconds(case)[0] is None
