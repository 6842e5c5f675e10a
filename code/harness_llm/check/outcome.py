"""Checks that LoadGen's verdict and its derived figures are what its measured figures give."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from harness_llm.check.case import Case
from harness_llm.check.figures import FAMILIES, PERCENTILES
from harness_llm.check.judgement import INFERENCE, Check
from harness_llm.core import NANOSECONDS_PER_SECOND, Scenario
from harness_llm.logs.detail import SIX_DIGITS, DetailLog
from harness_llm.logs.schedule import MOST_QUERIES, is_real_rate, logged_ends_ns

_RESULTS = f"{INFERENCE} loadgen/results.cc"
_REMEDY = "Copy the log as LoadGen wrote it, or run the test again."
_WRAP = 2**64
_RATES = 3 * SIX_DIGITS  # of a figure made of two or three rates of six digits


def outcome_checks(case: Case) -> Iterator[Check]:
    """The verdict against the constraints, these against the figures, and the figures against one another."""
    for name, faults, required, lines in (
        ("verdict", _verdict(case), "verdict and constraints as the figures give them", "287-400, 464-520"),
        ("means", _means(case), "means that the percentiles allow, and parts within the whole", "24-136"),
        ("token-rates", _token_rates(case), "rates of tokens made of one count of tokens", "760-822"),
    ):
        wrong = list(faults)
        yield case.check(
            f"performance.{name}",
            not wrong,
            "; ".join(wrong) or "as the figures give them",
            required,
            source=f"{_RESULTS} lines {lines}",
            remedy=_REMEDY,
            path=case.detail.path,
        )


def _verdict(case: Case) -> Iterator[str]:
    detail = case.detail
    met = {key: detail.value(key) for key in ("result_min_duration_met", "result_min_queries_met")}
    met["early_stopping_met"] = detail.value("early_stopping_met")
    if case.scenario is not Scenario.OFFLINE:
        met["result_perf_constraints_met"] = detail.value("result_perf_constraints_met")
        yield from _latency_verdicts(case)
        yield from _over_latency(detail)
    valid = "VALID" if all(value is True for value in met.values()) else "INVALID"
    if detail.value("result_validity") != valid:
        yield f"result_validity {detail.value('result_validity')} instead of {valid}"
    offline = case.scenario is Scenario.OFFLINE
    queries, wanted = detail.integer("result_query_count"), detail.integer("generated_query_count")
    if queries != wanted:
        yield f"result_query_count {queries}, {wanted} generated"
    least = detail.integer("effective_min_sample_count")
    samples = detail.integer("generated_samples_per_query") if offline else queries
    if samples is not None and least is not None and met["result_min_queries_met"] is not (samples >= least):
        yield f"result_min_queries_met {met['result_min_queries_met']} with {samples} of {least} samples"


def _latency_verdicts(case: Case) -> Iterator[str]:
    """Constraints of Server with token latencies; early stopping says of each whether it was successful."""
    detail = case.detail
    if detail.value("requested_use_token_latencies") is not True:
        return
    limits = [detail.integer(f"requested_server_{kind}_latency") for kind in ("ttft", "tpot")]
    found = [detail.ttft_p99_ns, detail.tpot_p99_ns]
    pairs = [
        (one, limit)
        for one, limit in zip(found, limits, strict=True)
        if one is not None and limit is not None
    ]
    if len(pairs) == len(limits) and detail.number("effective_target_latency_percentile") == 0.99:
        within = all(one <= limit for one, limit in pairs)
        said = detail.value("result_perf_constraints_met")
        if said is not within:
            yield f"result_perf_constraints_met {said} with TTFT {found[0]} and TPOT {found[1]} ns"
    texts = [str(detail.value(f"early_stopping_{kind}_result")) for kind in ("ttft", "tpot")]
    successful = all("Run successful" in text for text in texts)
    said = detail.value("early_stopping_met")
    if said is not successful:
        yield f"early_stopping_met {said}, its messages say {'yes' if successful else 'no'}"


def _over_latency(detail: DetailLog) -> Iterator[str]:
    """result_overlatency_query_count: how many samples took longer than effective_target_latency_ns."""
    count, over = detail.integer("result_query_count"), detail.integer("result_overlatency_query_count")
    limit = detail.integer("effective_target_latency_ns")
    top = detail.integer("result_max_latency_ns")
    if None in (count, over, limit, top):
        return
    assert count is not None and over is not None and limit is not None and top is not None
    low, high = (1, count) if top > limit else (0, 0)
    for name in PERCENTILES:
        value = detail.integer(f"result_{name}_percentile_latency_ns")
        rest = count - int(count * (float(name) / 100))
        if value is not None and value > limit:
            low = max(low, rest)
        elif value is not None:
            high = min(high, rest - 1)
    least = detail.integer("result_min_latency_ns")
    if least is not None and least > limit:
        low = count
    if not low <= over <= high:
        yield f"result_overlatency_query_count {over} instead of {low} to {high}"


def _means(case: Case) -> Iterator[str]:
    detail = case.detail
    offline = case.scenario is Scenario.OFFLINE
    count = detail.integer("generated_samples_per_query" if offline else "result_query_count")
    if not count or not 0 < count <= MOST_QUERIES:
        return
    for family, (ends, percentile) in FAMILIES.items():
        mean = detail.integer(ends.format("mean"))
        low, high = _mean_bounds(detail, ends, percentile, count)
        if mean is None or low is None or high is None:
            continue
        # LoadGen adds latencies up in 64 bits: of a long run the sum wraps, and the mean with it.
        wrapped = round((low - mean) / (_WRAP / count)) if low > mean else 0
        if not any(low - 1 <= mean + turns * _WRAP / count <= high for turns in (wrapped, wrapped + 1)):
            yield f"mean {family} {mean} outside {low:.0f} to {high:.0f}"
    # A sample's first token, and its time for one token, take no longer than the sample.
    whole_ends, whole = FAMILIES["latency"]
    for part in ("first token", "time per token"):
        ends, percentile = FAMILIES[part]
        pairs = [(ends.format(end), whole_ends.format(end)) for end in ("min", "max", "mean")]
        pairs += [(percentile.format(name), whole.format(name)) for name in PERCENTILES]
        for key, over in pairs:
            one, other = detail.integer(key), detail.integer(over)
            if one is not None and other is not None and one > other:
                yield f"{key} {one} above {over} {other}"


def _mean_bounds(
    detail: DetailLog, ends: str, percentile: str, count: int
) -> tuple[float | None, float | None]:
    """What the sorted latencies at a few places leave for their mean, ns."""
    places = [(0, detail.integer(ends.format("min")))]
    places += [
        (int(count * (float(name) / 100)), detail.integer(percentile.format(name))) for name in PERCENTILES
    ]
    places.append((count - 1, detail.integer(ends.format("max"))))
    known = [(place, value) for place, value in places if value is not None]
    if len(known) != len(places):
        return None, None
    total = [float(known[-1][1])] * 2  # the last sample
    for (place, low), (following, high) in pairwise(known):
        # The sample at `place` is known; those between it and the following lie between the two.
        width = following - place
        if width > 0:
            total[0] += low * width
            total[1] += low + high * (width - 1)
    return total[0] / count, total[1] / count


def _token_rates(case: Case) -> Iterator[str]:
    """Server logs its tokens over four times; all must be of one count of tokens."""
    detail = case.detail
    if case.scenario is Scenario.OFFLINE:
        return
    count, rate = detail.integer("result_query_count"), detail.number("result_completed_samples_per_sec")
    tokens_rate = detail.tokens_per_second
    if not count or count < 2 or count > MOST_QUERIES or not rate or rate <= 0 or not tokens_rate:
        return
    done = (count - 1) / rate
    tokens = tokens_rate * done
    yield from _scheduled_rate(detail, count, done)
    mean, over_latency = detail.integer("result_mean_latency_ns"), detail.number("result_token_throughput")
    if mean and over_latency is not None:
        made = tokens / (mean * count)
        if not math.isclose(made, over_latency, rel_tol=_RATES):
            yield f"result_token_throughput {over_latency} instead of {made:.6g}"
    issued, due = detail.number("result_token_throughput_with_loadgen_overhead"), _last_due(detail, count)
    if issued is not None and due is not None:
        at = tokens / issued if issued > 0 else math.inf
        if not due * (1 - _RATES) <= at <= done * (1 + _RATES):
            yield f"last query due at {due:.3f} s, issued at {at:.3f} s, answered at {done:.3f} s"
    parts = [detail.integer(key) for key in ("result_mean_latency_ns", "result_first_token_mean_latency_ns")]
    ends = [detail.integer(f"result_time_to_output_token_{end}") for end in ("min", "max")]
    if None not in (*parts, *ends) and parts[0] is not None and parts[1] is not None:
        after_first = (parts[0] - parts[1]) * count
        low, high = ((end or 0) * (tokens - count) for end in ends)
        slack = _RATES * abs(after_first) + 2 * count + _RATES * tokens * (ends[1] or 0)
        if not low - slack <= after_first <= high + slack:
            between = f"{low / count:.0f} to {high / count:.0f}"
            yield f"{after_first / count:.0f} ns after the first token, by the times of tokens {between}"


def _scheduled_rate(detail: DetailLog, count: int, done: float) -> Iterator[str]:
    """The rate at which queries were due follows from the schedule; the last is answered after it is due."""
    last, found = _last_due(detail, count), detail.number("result_scheduled_samples_per_sec")
    if last is None or found is None:
        return
    made = (count - 1) / last if last else math.inf
    if not math.isclose(found, made, rel_tol=2 * SIX_DIGITS):
        yield f"result_scheduled_samples_per_sec {found} instead of {made:.6g}"
    if done < last * (1 - _RATES):
        yield f"the last query, due at {last:.3f} s, was answered at {done:.3f} s"


def _last_due(detail: DetailLog, count: int) -> float | None:
    """When the last query of Server was due, s after the start."""
    seed, rate = detail.integer("effective_schedule_rng_seed"), detail.number("effective_target_qps")
    if seed is None or rate is None or not is_real_rate(rate):
        return None
    return logged_ends_ns(seed, rate, count)[0] / NANOSECONDS_PER_SECOND
