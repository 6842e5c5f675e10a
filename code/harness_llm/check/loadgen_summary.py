"""Checks of LoadGen's summary of a performance run against its detail log."""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness_llm.check.case import Case
from harness_llm.check.model import INFERENCE, Check


def summary_checks(case: Case) -> Iterator[Check]:
    """Whether LoadGen's summary is whole and says what its detail log says."""
    summary, detail = case.summary, case.detail
    yield case.check(
        "performance.summary",
        not summary.problems,
        "; ".join(map(str, summary.problems)) or "whole",
        "a whole LoadGen summary",
        source=f"{INFERENCE} tools/submission/submission_checker/constants.py line 1394",
        remedy="Copy the summary as LoadGen wrote it, or run the test again.",
        path=summary.path,
    )
    if summary.problems or not detail.values:
        return
    differences = list(_differences(case))
    yield case.check(
        "performance.summary-agrees",
        not differences,
        "; ".join(differences) or "equal",
        "the summary says what the detail log says",
        remedy="Put summary and detail log of the same run here.",
        path=summary.path,
    )


def _differences(case: Case) -> Iterator[str]:
    summary, detail = case.summary, case.detail
    pairs: list[tuple[str, object, object]] = [
        ("validity", summary.validity, detail.value("result_validity")),
        ("scenario", summary.scenario, detail.value("effective_scenario")),
    ]
    if "num_errors" in detail.values:
        pairs.append(("errors", summary.errors, detail.value("num_errors")))
    for key in ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed", "min_query_count"):
        pairs.append((key, summary.parameters.get(key), str(detail.value(f"effective_{key}"))))
    families = {
        "latency": "result_{}_percentile_latency_ns",
        "first_token": "result_first_token_{}_percentile_latency_ns",
        "output_token": "result_time_per_output_token_{}_percentile_ns",
    }
    for family, key in families.items():
        for name, value in summary.latencies_ns.get(family, {}).items():
            pairs.append((f"{family} {name}", value, detail.value(key.format(name))))
    yield from (f"{name}: {one} against {other}" for name, one, other in pairs if one != other)
    one_rate, other_rate = summary.tokens_per_second, detail.tokens_per_second
    # The summary rounds to 2 decimals or 6 digits, the detail log to 6 digits.
    if one_rate != other_rate and not math.isclose(
        one_rate or 0, other_rate or 0, rel_tol=2e-5, abs_tol=0.01
    ):
        yield f"tokens per second: {one_rate} against {other_rate}"
