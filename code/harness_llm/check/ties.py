"""Checks that the logs of one result are of one system, benchmark and scenario."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from harness_llm.check.case import Case
from harness_llm.check.judgement import INFERENCE, POLICIES, Check, check_name
from harness_llm.check.replay import dated
from harness_llm.logs.accuracy_log import AccuracyLog
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.draws import Draw, issued_samples

# What mlperf.conf and the benchmark decide, so that a result's runs have it in common.
_SETTINGS = (
    "requested_server_ttft_latency",
    "requested_server_tpot_latency",
    "requested_server_target_latency_ns",
    "requested_server_target_latency_percentile",
    "requested_use_token_latencies",
    "qsl_name",
)
_SEEDS_KNOWN = timedelta(days=28)  # 13 days at most in 362 published results
_BUILD = ("loadgen_version", "loadgen_git_log_message", "loadgen_file_sha1")


def tie_checks(case: Case, area: str, detail: DetailLog, *, is_same_data: bool) -> Iterator[Check]:
    """Whether an accuracy or compliance log is of the performance run's benchmark, scenario and LoadGen.

    Args:
        case: The result, with a readable performance log.
        area: Beginning of the checks' names.
        detail: The other log.
        is_same_data: Whether both ask the same data set.
    """
    own = case.detail
    keys = (*_SETTINGS, "qsl_reported_total_count") if is_same_data else _SETTINGS
    wrong = [
        f"{key} {detail.value(key)} against {own.value(key)}"
        for key in keys
        if detail.value(key) != own.value(key)
    ]
    yield case.check(
        check_name(area, "same-benchmark"),
        not wrong,
        "; ".join(wrong) or "as in the performance run",
        "the limits, data set and kind of latencies of the performance run",
        source=f"{POLICIES} inference_rules.adoc lines 391-392",
        remedy="Put the log of this benchmark and scenario here.",
        path=detail.path,
    )
    yield from _build(case, area, detail)
    yield from _days_apart(case, area, detail)


def _build(case: Case, area: str, detail: DetailLog) -> Iterator[Check]:
    """LoadGen of one commit has one set of files; another commit, or another SUT name, is a note."""
    own = case.detail
    version, history, files = (detail.value(key) == own.value(key) for key in _BUILD)
    numbers = [str(log.value("loadgen_version")).partition(" @ ")[0] for log in (own, detail)]
    # LoadGen logs the digests of its source files, and one of those files contains its version.
    broken = (version and history and not files) or (files and numbers[0] != numbers[1])
    same_name = detail.value("sut_name") == own.value("sut_name")
    yield case.check(
        check_name(area, "same-system"),
        False if broken else (True if version and history and files and same_name else None),
        f"LoadGen {detail.value('loadgen_version')}, SUT {detail.value('sut_name')}",
        f"LoadGen {own.value('loadgen_version')}, SUT {own.value('sut_name')}, as in the performance run",
        source=f"{INFERENCE} loadgen/version.cc lines 53-70",
        remedy="LoadGen's files contradict its version or commit: run the test again with a released one.",
        path=detail.path,
    )


def _days_apart(case: Case, area: str, detail: DetailLog) -> Iterator[Check]:
    """A round's seeds are known for four weeks, so no two of its runs are further apart."""
    dates = [dated(log.value("test_datetime")) for log in (case.detail, detail)]
    if dates[0] is None or dates[1] is None:
        return
    apart = abs(dates[1] - dates[0])
    yield case.check(
        check_name(area, "days-apart"),
        apart <= _SEEDS_KNOWN or (False if case.is_strict and case.layout == "tree" else None),
        f"run on {dates[1]:%Y-%m-%d}, the performance run on {dates[0]:%Y-%m-%d}",
        f"at most {_SEEDS_KNOWN.days} days apart",
        source=f'{POLICIES} inference_rules.adoc lines 82-85: "The random seeds will be announced four '
        'weeks before the benchmark submission deadline."',
        remedy="Run both within the four weeks before the deadline.",
        path=detail.path,
    )


def drawn_check(case: Case, area: str, log: AccuracyLog, draws: dict[str, Draw]) -> Iterator[Check]:
    """Whether each answer is to the sample that LoadGen drew under its sequence number.

    The number ties the answers to seeds, data set, scenario and mode: answers of another run have others.

    Args:
        case: The result.
        area: Beginning of the check's name.
        log: The answers, possibly cut.
        draws: Which draws there may have been, and how to name them; the first is the right one, others are
            a note. Empty where the log of the run says too little.
    """
    if not log.numbers or not draws:
        return
    numbers = dict(log.numbers)
    once = len(numbers) == len(log.numbers)
    fitting = [name for name, draw in draws.items() if once and _is_drawn(numbers, draw)]
    wanted = next(iter(draws))
    yield case.check(
        check_name(area, "drawn-samples"),
        True if wanted in fitting else (None if fitting else False),
        f"{len(log.numbers)} answers, to the samples "
        + (f"of {fitting[0]}" if fitting else "of another run" if once else "of numbers that come twice"),
        f"answers to the samples that LoadGen drew: those of {wanted}",
        source=f"{INFERENCE} loadgen/loadgen.cc lines 209-245, 280-432",
        remedy="Put the answers of this very run here.",
        path=log.path,
    )


def _is_drawn(numbers: dict[int, int], draw: Draw) -> bool:
    return any(
        all(0 <= number < len(samples) and samples[number] == sample for number, sample in numbers.items())
        for samples in issued_samples(draw)
    )
