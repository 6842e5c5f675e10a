"""Checks of the latency constraints of Server and Interactive, made again from logs and seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from harness_llm import rules
from harness_llm.check.case import Case
from harness_llm.check.judgement import INFERENCE, Check
from harness_llm.logs.detail import SIX_DIGITS
from harness_llm.logs.early_stopping import max_over_limit, min_queries
from harness_llm.logs.schedule import MOST_QUERIES, is_real_rate, logged_ends_ns

_MORE = re.compile(r"run at least (\d+) more queries")
_FAMILIES = {
    "ttft": ("result_first_token_{}_percentile_latency_ns", "result_first_token_max_latency_ns"),
    "tpot": ("result_time_per_output_token_{}_percentile_ns", "result_time_to_output_token_max"),
}
_PERCENTILES = ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")


def over_limit_bounds(case: Case, kind: str, limit_ns: int) -> tuple[int, int] | None:
    """Fewest and most samples over a limit that the detail log allows for; None without results.

    The log has the sorted latencies at a few positions: one above the limit means that all later ones are
    above it, one within that all earlier ones are within. An unmet early stopping names the exact count.
    """
    detail = case.detail
    count = detail.integer("result_query_count")
    pattern, largest = _FAMILIES[kind]
    top = detail.integer(largest)
    if not count or not 0 < count <= MOST_QUERIES or top is None:
        return None
    low, high = (1, count) if top > limit_ns else (0, 0)
    for name in _PERCENTILES:
        value = detail.integer(pattern.format(name))
        rest = count - int(count * (float(name) / 100))
        if value is not None and value > limit_ns:
            low = max(low, rest)
        elif value is not None:
            high = min(high, rest - 1)
    if found := _MORE.search(str(detail.value(f"early_stopping_{kind}_result"))):
        exact = _over_for(count + int(found.group(1)))
        if exact is not None:
            low, high = max(low, exact), min(high, exact)
    return low, high


def over_limit_rule(count: int, allowed: int) -> tuple[str, str]:
    """What early stopping asks of a run, and what to do where it is not met.

    Args:
        count: Queries of the run.
        allowed: How many of them may be over a limit; -1 where they are too few to judge by.
    """
    if allowed < 0:
        needed = min_queries(0)
        required = f"at least {needed} queries: {count} are too few to judge by"
        return required, f"Run longer: min_duration or min_query_count must give {needed} queries or more."
    remedy = "Lower target_qps, or run longer: more queries allow a larger share over the limit."
    return f"at most {allowed} of {count}", remedy


def _over_for(needed: int) -> int | None:
    """The over-limit count for which LoadGen asks for `needed` queries in all, or None if there is none."""
    over = max_over_limit(needed) if needed <= 2 * MOST_QUERIES else -1
    return over if over >= 0 and min_queries(over) == needed else None


def _setting(case: Case) -> Iterator[Check]:
    if not case.scenario.is_timed_per_token:
        return
    finding = rules.latency_limits(
        case.limits_ns, case.limits_source, case.scenario, case.loadgen_model, case.logged
    )
    # Open may state other limits.
    is_note = case.division == "open" and not case.is_strict
    yield case.judged(finding, case.detail.path, is_note=is_note)


def _percentiles(case: Case) -> Iterator[Check]:
    if case.limits_ns is None:
        return
    detail = case.detail
    found = {"ttft": detail.ttft_p99_ns, "tpot": detail.tpot_p99_ns}
    for (kind, value), limit in zip(found.items(), case.limits_ns, strict=True):
        fits = value is not None and 0 <= value < limit
        yield case.check(
            f"latency.{kind}",
            fits if case.is_strict or case.rules is None else (fits or None),
            "no 99th percentile" if value is None else f"99th percentile {value / 1e6:.3f} ms",
            f"below {limit / 1e6:g} ms",
            source=f"{case.limits_source}; {INFERENCE} "
            "tools/submission/submission_checker/checks/performance_check.py lines 478-504",
            remedy="Lower target_qps, or make the system faster.",
            path=detail.path,
        )


def _early_stopping(case: Case) -> Iterator[Check]:
    """LoadGen's early stopping made again: samples over each limit, and how many were allowed."""
    if case.limits_ns is None:
        return
    detail = case.detail
    count = detail.integer("result_query_count") or 0
    allowed = max_over_limit(count) if count <= MOST_QUERIES else -1
    required, remedy = over_limit_rule(count, allowed)
    for kind, limit in zip(_FAMILIES, case.limits_ns, strict=True):
        bounds = over_limit_bounds(case, kind, limit)
        verdict = detail.value("early_stopping_met") is True
        if bounds is None or bounds[0] > bounds[1]:
            passed, found = False, "latencies missing or in contradiction"
        else:
            low, high = bounds
            passed = high <= allowed or (verdict and low <= allowed)
            over = f"{low}" if low == high else f"{low} to {high}"
            found = f"{over} of {count} samples over {limit / 1e6:g} ms"
        yield case.check(
            f"latency.early-stopping-{kind}",
            passed if case.is_strict or case.rules is None else (passed or None),
            found,
            required,
            source=f"{INFERENCE} loadgen/early_stopping.cc lines 58-84; "
            f"{INFERENCE} loadgen/results.cc lines 227-247",
            remedy=remedy,
            path=detail.path,
        )


def _schedule(case: Case) -> Iterator[Check]:
    """The arrival times follow from seed, rate and count; LoadGen logs the time after the last of them."""
    if not case.scenario.is_timed_per_token:
        return
    detail = case.detail
    seed, count = detail.integer("effective_schedule_rng_seed"), detail.integer("generated_query_count")
    rate, logged = detail.number("effective_target_qps"), detail.integer("generated_query_duration")
    if seed is None or count is None or rate is None or logged is None:
        passed, found, wanted = False, "seed, rate, count or duration missing", "all of them in the log"
    elif not 0 < count <= MOST_QUERIES or not is_real_rate(rate):
        passed, found, wanted = False, f"{count} queries at {rate}/s", "a count and a rate of a real run"
    else:
        due = logged_ends_ns(seed, rate, count)[1]
        passed = math.isclose(due, logged, rel_tol=SIX_DIGITS)
        found, wanted = f"{logged / 1e9:.6f} s", f"{due / 1e9:.6f} s for {count} queries at {rate:g}/s"
    yield case.check(
        "latency.schedule",
        passed,
        found,
        wanted,
        source=f"{INFERENCE} loadgen/loadgen.cc lines 199-208, 336-432",
        remedy="The log is not that of a run with its own seed and rate: run the test again.",
        path=detail.path,
    )


def _percentile_setting(case: Case) -> Iterator[Check]:
    if case.scenario.is_timed_per_token:
        yield case.judged(rules.latency_percentile(case.logged), case.detail.path)


LATENCY_CHECKS = (_setting, _percentile_setting, _percentiles, _early_stopping, _schedule)
