"""Checks of any LoadGen log against itself: settings, draws, queries and dates made again.

A test is decided by the requested settings and the seeds. What LoadGen derives from them (effective settings,
the order of samples, the number and times of queries) can be made again to the last digit, so an edited
setting contradicts the rest of its own log.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from harness_llm.check.case import Case
from harness_llm.check.judgement import INFERENCE, Check, check_name
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.draws import MOST_SAMPLES, is_loaded_order
from harness_llm.logs.effective import query_faults, setting_faults

POWER_TIME = "%m-%d-%Y %H:%M:%S.%f"
_COPY = "Copy the log as LoadGen wrote it, or run the test again."
_ZONES = timedelta(
    hours=15
)  # power_begin is local time, test_datetime may be, too; and the data set is loaded between
_BUILD_CLOCK = timedelta(days=1)  # another machine's clock and zone
_ZONE_STEP = timedelta(minutes=15)
SET_CLOCK = timedelta(seconds=10)  # 2 s at most in 1,753 of 1,754 published logs; 8 s in one


def replay_checks(case: Case, area: str, detail: DetailLog) -> Iterator[Check]:
    """Whether a log's settings, draws, queries and dates follow from one another.

    Args:
        case: The result.
        area: Beginning of the checks' names, e.g. `accuracy`.
        detail: The log, with something in it.
    """
    for name, faults, required, lines in (
        (
            "effective-settings",
            setting_faults,
            "effective settings as LoadGen makes them of the requested ones",
            "test_settings_internal.cc lines 27-165",
        ),
        (
            "queries",
            query_faults,
            "as many queries, and as long, as LoadGen makes of rate, duration, counts and seed",
            "loadgen.cc lines 262-432",
        ),
    ):
        wrong = list(faults(detail))
        yield case.check(
            check_name(area, name),
            not wrong,
            "; ".join(wrong) or "as LoadGen makes them",
            required,
            source=f"{INFERENCE} loadgen/{lines}",
            remedy=_COPY,
            path=detail.path,
        )
    yield _loaded(case, area, detail)
    yield _dates(case, area, detail)


def _loaded(case: Case, area: str, detail: DetailLog) -> Check:
    loaded, seed = detail.value("loaded_qsl_set"), detail.integer("effective_qsl_rng_seed")
    accuracy = detail.value("effective_test_mode") == "AccuracyOnly"
    size = detail.value(f"effective_{'accuracy' if accuracy else 'performance'}_sample_count")
    if accuracy and size is None:  # LoadGen before v6.0
        size = detail.value("qsl_reported_total_count")
    order = loaded if isinstance(loaded, array) else array("q")
    fits = seed is not None and is_loaded_order(order, seed)
    said = "in the order of the seed" if fits else "in another order"
    if is_huge := len(order) > MOST_SAMPLES:
        said = "too many to check their order"
    # Performance mode loads no more than the data set has.
    total = detail.integer("qsl_reported_total_count") or 0
    counted = isinstance(size, int) and len(order) == min(size, total)
    return case.check(
        check_name(area, "loaded-samples"),
        None if is_huge and counted else fits and counted,
        f"{len(order)} samples, {said}",
        f"{size} samples in the order that qsl_rng_seed {seed} gives",
        source=f"{INFERENCE} loadgen/loadgen.cc, GenerateLoadableSets",
        remedy=_COPY,
        path=detail.path,
    )


def _dates(case: Case, area: str, detail: DetailLog) -> Check:
    """LoadGen was built before the test, and the log's dates agree with its own clock."""
    began = dated(detail.value("test_datetime"))
    built = dated(detail.value("loadgen_build_date_utc")) or dated(detail.value("loadgen_build_date_local"))
    wrong = []
    if fault := _clock_fault(detail, began):
        wrong.append(fault)
    if began and built and built - began > _BUILD_CLOCK:
        wrong.append(f"test of {began:%Y-%m-%d} with a LoadGen built on {built:%Y-%m-%d}")
    commit = dated(detail.value("loadgen_git_commit_date"))
    if commit and built and commit - built > _BUILD_CLOCK:
        wrong.append(f"a LoadGen built on {built:%Y-%m-%d} of a commit of {commit:%Y-%m-%d}")
    return case.check(
        check_name(area, "dates"),
        not wrong,
        "; ".join(wrong) or f"{began:%Y-%m-%d}",
        "dates as the log's clock counts, up to a time zone, and after LoadGen was built",
        source=f"{INFERENCE} loadgen/loadgen.cc, StartTest and IssueQueries; loadgen/version.cc lines 53-70",
        remedy=_COPY,
        path=detail.path,
    )


def _clock_fault(detail: DetailLog, began: datetime | None) -> str:
    """How the dates contradict one another or `time_ms`, which counts from the start; empty where they fit.

    Both power times are written when the run ends, in local time; `test_datetime` when it starts, in UTC.
    """
    power, ended = power_time(detail, "begin"), power_time(detail, "end")
    if began is None or power is None or ended is None:
        names = ("test_datetime", "power_begin", "power_end")
        return ", ".join(f"{name} {detail.value(name)}" for name in names)
    if not -_ZONES <= power - began <= _ZONES:
        return f"test_datetime {began:%Y-%m-%d %H:%M}, power_begin {power:%Y-%m-%d %H:%M}"
    times = detail.times_ms
    counted = timedelta(milliseconds=times.get("power_end", 0) - times.get("test_datetime", 0))
    beside = (ended - began - counted + _ZONE_STEP / 2) % _ZONE_STEP - _ZONE_STEP / 2
    if abs(beside) > SET_CLOCK or ended - power - counted > SET_CLOCK:
        spans = f"test_datetime {began}, power_begin {power}, power_end {ended}"
        return f"{spans}, while the log's clock counts {counted.total_seconds():.3f} s"
    return ""


def power_time(detail: DetailLog, end: str) -> datetime | None:
    """`power_begin` or `power_end`, as a time without its zone; None where it is no such time."""
    try:
        return datetime.strptime(str(detail.value(f"power_{end}")), POWER_TIME)
    except ValueError:
        return None


def dated(found: object) -> datetime | None:
    """An ISO 8601 date in UTC, without its zone; None if it is not one."""
    try:
        date = datetime.fromisoformat(str(found))
    except ValueError:
        return None
    return date if date.tzinfo is None else date.astimezone(UTC).replace(tzinfo=None)
