"""Checks of one log against itself: every figure that follows from others is made again.

LoadGen derives its rates from a few measured times and counts (loadgen/results.cc); a figure that was edited,
or a log made of parts of two, contradicts the rest. Tolerances come from the six digits of a rate in the log,
and from what 801 published logs of rounds v5.1 and v6.0 show.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from harness_llm import rules
from harness_llm.check.case import Case
from harness_llm.check.judgement import INFERENCE, Check
from harness_llm.check.replay import power_time
from harness_llm.core import NANOSECONDS_PER_SECOND, Mode, Scenario
from harness_llm.logs.detail import SIX_DIGITS, DetailLog
from harness_llm.logs.source import read_text
from harness_llm.results.accuracy_txt import official_scores
from harness_llm.results.paths import ACCURACY_TXT

_RESULTS = f"{INFERENCE} loadgen/results.cc lines 64-136, 440-456, 590-822"
PERCENTILES = ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")
FAMILIES = {
    "latency": ("result_{}_latency_ns", "result_{}_percentile_latency_ns"),
    "first token": ("result_first_token_{}_latency_ns", "result_first_token_{}_percentile_latency_ns"),
    "time per token": ("result_time_to_output_token_{}", "result_time_per_output_token_{}_percentile_ns"),
}
# Offline: the two agree within 1 ms in every published log. Server: LoadGen rounds its rate to 6 digits.
_CLOCK_SECONDS = 0.05
# Tokens a sample, performance over accuracy: 0.977 to 1.017 in 586 published results.
_LENGTH_TOLERANCE = 0.025


def figure_checks(case: Case) -> Iterator[Check]:
    """Rates against counts and times, latencies in order, the clock against the measured time, lengths."""
    yield from measured_checks(case)
    if case.rules:
        yield from _lengths(case)


def measured_checks(case: Case) -> Iterator[Check]:
    """Those that hold for any performance run, a compliance test's, too."""
    yield _latencies(case)
    yield _rates(case)
    yield _clock(case)


def answer_length(case: Case) -> float | None:
    """Mean tokens of an answer in the performance run, from its two rates; None where the log has none."""
    detail = case.detail
    tokens, samples = detail.tokens_per_second, _samples_per_second(case)
    if tokens is None or not samples or not math.isfinite(tokens):
        return None
    if case.scenario is Scenario.OFFLINE:
        return tokens / samples
    count = detail.integer("result_query_count") or 0
    # Of the same time, LoadGen's rate of samples has one sample less (results.cc lines 761-819).
    return tokens / samples * (count - 1) / count if count > 1 else None


def _samples_per_second(case: Case) -> float | None:
    key = (
        "result_samples_per_second"
        if case.scenario is Scenario.OFFLINE
        else "result_completed_samples_per_sec"
    )
    return case.detail.number(key)


def _latencies(case: Case) -> Check:
    """Minimum, percentiles and maximum grow, the mean lies between, and nothing is negative."""
    detail, wrong = case.detail, []
    for family, (ends, percentile) in FAMILIES.items():
        keys = [ends.format("min"), *(percentile.format(name) for name in PERCENTILES), ends.format("max")]
        values = [(key, found) for key in keys if (found := detail.integer(key)) is not None]
        wrong += [
            f"{later} {high} below {earlier} {low}"
            for (earlier, low), (later, high) in pairwise(values)
            if high < low
        ]
        if values and values[0][1] < 0:
            wrong.append(f"{values[0][0]} {values[0][1]}")
        mean, low, high = (detail.integer(ends.format(name)) for name in ("mean", "min", "max"))
        if mean is not None and low is not None and high is not None and not low <= mean <= high:
            wrong.append(f"mean {family} {mean} outside {low} to {high}")
    return case.check(
        "performance.latencies",
        not wrong,
        "; ".join(wrong) or "in order",
        "0 <= minimum <= percentiles <= maximum, and the mean between",
        source=_RESULTS,
        remedy="Copy the log as LoadGen wrote it, or run the test again.",
        path=detail.path,
    )


def _measured_seconds(case: Case) -> float | None:
    """How long the samples took, s; in Server, until the last query ended, from its rate."""
    detail = case.detail
    if case.scenario is Scenario.OFFLINE:
        longest = detail.integer("result_max_latency_ns")
        return None if longest is None else longest / NANOSECONDS_PER_SECOND
    count, rate = detail.integer("result_query_count"), detail.number("result_completed_samples_per_sec")
    return (count - 1) / rate if count and rate and rate > 0 else None


def _rates(case: Case) -> Check:
    """Samples a second is what count and time give; a Server run ends soon after its last query."""
    detail = case.detail
    seconds = _measured_seconds(case)
    if case.scenario is Scenario.OFFLINE:
        count, rate = (
            detail.integer("generated_samples_per_query"),
            detail.number("result_samples_per_second"),
        )
        made = count / seconds if count and seconds else None
        agrees: bool | None = (
            made is not None and rate is not None and math.isclose(made, rate, rel_tol=SIX_DIGITS)
        )
        found, required = f"{rate} samples/s", f"{made} samples/s: {count} samples in {seconds} s"
    else:
        sent, longest = detail.integer("generated_query_duration"), detail.integer("result_max_latency_ns")
        if sent is None or longest is None or seconds is None:
            agrees, required = _is_old(detail), "a rate, a duration and a longest latency"
        else:
            first, last = sent / NANOSECONDS_PER_SECOND, (sent + longest) / NANOSECONDS_PER_SECOND
            slack = _CLOCK_SECONDS + SIX_DIGITS * last
            # The schedule's end is the arrival after the last query: a mean distance is granted.
            agrees = first * (1 - 1e-2) - slack <= seconds <= last + slack
            required = f"{first:.3f} s (last query) to {last:.3f} s (and the longest latency)"
        found = f"{seconds if seconds is None else round(seconds, 3)} s by the completed samples a second"
    return case.check(
        "performance.rate",
        agrees,
        found,
        required,
        source=_RESULTS,
        remedy="Copy the log as LoadGen wrote it, or run the test again.",
        path=detail.path,
    )


def _is_old(detail: DetailLog) -> bool | None:
    """None for a log without the rate of completed samples, which is not of this LoadGen."""
    return None if "result_completed_samples_per_sec" not in detail.values else False


def _clock(case: Case) -> Check:
    """The time that LoadGen dates the run's ends by is the time that it measured."""
    detail = case.detail
    measured = _measured_seconds(case)
    begin, end = power_time(detail, "begin"), power_time(detail, "end")
    lasted = (end - begin).total_seconds() if begin and end else None
    if lasted is None or measured is None:
        passed: bool | None = None
    elif case.scenario is Scenario.OFFLINE:
        passed = abs(lasted - measured) <= _CLOCK_SECONDS + SIX_DIGITS * measured
    else:  # the queries before the last may end after it
        passed = lasted >= measured - _CLOCK_SECONDS - SIX_DIGITS * measured
    logged = detail.times_ms.get("power_end", 0.0) / 1000
    if passed and lasted is not None and logged < lasted - _CLOCK_SECONDS - SIX_DIGITS * lasted:
        passed, lasted = False, logged
    return case.check(
        "performance.clock",
        passed,
        "power_begin or power_end missing" if lasted is None else f"{lasted:.3f} s by the log's dates",
        "the measured time" if measured is None else f"{measured:.3f} s by the measured latencies",
        source=f"{INFERENCE} loadgen/loadgen.cc, RunPerformanceMode (power_begin, power_end)",
        remedy="The log's times contradict its figures (a clock was set, or the log edited): run it again.",
        path=detail.path,
    )


def _lengths(case: Case) -> Iterator[Check]:
    """Tokens a sample: within the benchmark's output limit, and as long as the answers that were scored."""
    assert case.rules is not None
    length = answer_length(case)
    if length is None:
        return
    limit = case.rules.output_limit(Mode.PERFORMANCE)
    # A count that includes the end token beyond the limit is common (129 of 128) and not worth a refusal.
    rounded = 1 + 2 * SIX_DIGITS  # of two rates
    over = None if length <= (limit + 1) * rounded else False
    yield case.check(
        "performance.answer-length",
        (0 < length <= limit * rounded) or (over if length > 0 else False),
        f"{length:.2f} tokens a sample",
        f"above 0, at most {limit}",
        source=case.rules.generation.source,
        remedy="Copy the log as LoadGen wrote it, or run the test again.",
        path=case.detail.path,
    )
    scored = _scored_length(case)
    if scored is None:
        return
    fits = math.isclose(length, scored, rel_tol=_LENGTH_TOLERANCE)
    yield case.check(
        "performance.length-agrees",
        fits if case.is_strict else (fits or None),
        f"{length:.2f} tokens a sample by tokens/s and samples/s",
        f"the {scored:.2f} of the accuracy run within {_LENGTH_TOLERANCE:.1%}",
        source=f"{_RESULTS}; {rules.expand_source(case.rules.length.source)}",
        remedy="Performance and accuracy must run the same model with the same limits: run them again.",
        path=case.detail.path,
    )


def _scored_length(case: Case) -> float | None:
    """Tokens a sample by accuracy.txt, where both runs ask the same samples with the same limits."""
    known = case.rules
    if known is None or not known.generation.greedy or known.length.metric != "tokens_per_sample":
        return None
    text, _ = read_text(case.accuracy / ACCURACY_TXT)
    return official_scores(text).get("tokens_per_sample")
