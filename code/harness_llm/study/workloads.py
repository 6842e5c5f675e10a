"""When a load asks: kinds of workload that a user writes, and the schedule that each makes of a seed."""

from __future__ import annotations

import contextlib
import csv
import io
import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from harness_llm.config.harness import wrong
from harness_llm.core import NANOSECONDS_PER_SECOND
from harness_llm.driver.issuers import Schedule
from harness_llm.errors import ConfigError, DatasetError
from harness_llm.files import open_regular
from harness_llm.study.study_file import Seconds, SomeSeconds, Strict
from harness_llm.transport.spec import DriverTest

Floats = npt.NDArray[np.float64]
_MOST_ROWS = 10_000_000


class _Workload(Strict):
    """What all kinds share.

    Attributes:
        warm_up: Rows that are asked, and answered, before the start.
    """

    warm_up: Annotated[int, Field(ge=0, le=_MOST_ROWS)] = 0


class Batch(_Workload):
    """`size` requests together, and the next when all of them are answered."""

    kind: Literal["batch"] = "batch"
    size: PositiveInt
    iterations: PositiveInt


class Closed(_Workload):
    """`concurrency` requests open at once, for `iterations` rows or `duration_s` seconds."""

    kind: Literal["closed"] = "closed"
    concurrency: Annotated[int, Field(gt=0, le=_MOST_ROWS)]
    iterations: PositiveInt | None = None
    duration_s: SomeSeconds | None = None
    think_s: Seconds = 0.0

    @model_validator(mode="after")
    def _has_one_end(self) -> Closed:
        if (self.iterations is None) == (self.duration_s is None):
            raise ValueError("needs one of iterations and duration_s")
        return self


class Rate(_Workload):
    """Arrivals at a rate, requests per second; `cv` is that of the gaps of `gamma`."""

    kind: Literal["rate"] = "rate"
    qps: PositiveFloat
    duration_s: SomeSeconds
    arrival: Literal["poisson", "constant", "gamma"] = "poisson"
    cv: Annotated[float, Field(ge=0.001, le=100)] = 1.0

    @model_validator(mode="after")
    def _uses_cv(self) -> Rate:
        if "cv" in self.model_fields_set and self.arrival != "gamma":
            raise wrong(f"does nothing with arrival: {self.arrival}; choose arrival: gamma", "cv")
        return self


class Lognormal(Strict):
    """Rates that are drawn: the logarithm has mean `mu` and deviation `sigma`."""

    mu: float
    sigma: NonNegativeFloat


class Markov(Strict):
    """Two rates, the first to start with; after each interval the other follows with probability `change`."""

    rates: tuple[NonNegativeFloat, NonNegativeFloat]
    change: Annotated[float, Field(ge=0, le=1)]


class Segments(_Workload):
    """A rate for each interval, Poisson arrivals within: listed, drawn, or by a chain of two states."""

    kind: Literal["segments"] = "segments"
    interval_s: PositiveFloat = 20.0
    duration_s: SomeSeconds
    rps: list[NonNegativeFloat] | Lognormal | Markov
    max_rps: PositiveFloat | None = None


class Trace(_Workload):
    """Arrivals of a CSV file: seconds in the column `column`, divided by `time_scale`."""

    kind: Literal["trace"] = "trace"
    file: Path
    column: str = "Timestamp"
    time_scale: PositiveFloat = 1.0
    start_s: NonNegativeFloat = 0.0
    duration_s: SomeSeconds


Workload = Annotated[Batch | Closed | Rate | Segments | Trace, Field(discriminator="kind")]


def make_schedule(workload: Workload, samples: int, seed: int) -> Schedule:
    """The rows of a workload, warm-up before them; one seed, one schedule.

    Samples are taken in rounds, each in random order, so that their counts differ by at most one.

    Raises:
        ConfigError: It has no request, or too many; nothing that large was made.
        DatasetError: A trace cannot be read.
    """
    random = np.random.default_rng(seed)
    at_s = _arrivals(workload, random)
    _require_possible(workload, len(at_s))
    count = workload.warm_up + len(at_s)
    rounds = [random.permutation(samples) for _ in range(math.ceil(count / samples))]
    at_ns = np.concatenate((np.zeros(workload.warm_up), at_s * NANOSECONDS_PER_SECOND))
    return Schedule(at_ns.astype(np.int64), np.concatenate(rounds)[:count].astype(np.int64))


def _require_possible(workload: Workload, count: float, what: str = "requests") -> None:
    if not 0 < count <= _MOST_ROWS:
        raise ConfigError(
            f"workload {workload.kind}: {count:,.0f} {what}; 1 to {_MOST_ROWS:,} are possible",
            "Check its rate and its length.",
        )


def _arrivals(workload: Workload, random: np.random.Generator) -> Floats:
    match workload:
        case Batch(size=size, iterations=iterations):
            return _at_once(workload, size * iterations)
        case Closed():
            # By time it asks the same rows again and again: more than one round is only a longer file.
            return _at_once(workload, workload.iterations or 1 << 16)
        case Rate():
            return _at_rate(workload, random)
        case Segments():
            return _in_segments(workload, random)
        case Trace():
            return _of_trace(workload)


def _at_once(workload: Workload, count: int) -> Floats:
    _require_possible(workload, count)
    return np.zeros(count)


def _at_rate(workload: Rate, random: np.random.Generator) -> Floats:
    expected = workload.qps * workload.duration_s
    _require_possible(workload, expected)
    count = math.ceil(expected)
    if workload.arrival == "constant":
        return np.arange(count) / workload.qps
    shape = 1.0 if workload.arrival == "poisson" else workload.cv**-2
    scale, more = 1 / (shape * workload.qps), count + 10 * math.isqrt(count) + 100
    # As of arrivals that began long ago: what is left of a gap, which is hit the likelier the longer it is.
    at_s = np.array([random.random() * random.gamma(shape + 1, scale)])
    while at_s[-1] < workload.duration_s and len(at_s) <= _MOST_ROWS:
        at_s = np.concatenate((at_s, at_s[-1] + np.cumsum(random.gamma(shape, scale, more))))
        more = len(at_s)
    return at_s[at_s < workload.duration_s]


def segment_rates(workload: Segments, random: np.random.Generator) -> Floats:
    """The rate of each interval, requests per second."""
    intervals = workload.duration_s / workload.interval_s
    _require_possible(workload, intervals, "intervals")
    count = math.ceil(intervals)
    match workload.rps:
        case Lognormal(mu=mu, sigma=sigma):
            rates = random.lognormal(mu, sigma, count)
        case Markov(rates=pair, change=change):
            changes = random.random(count) < change
            changes[0] = False
            rates = np.array(pair)[np.cumsum(changes) % 2]
        case listed:
            rates = np.resize(np.array(listed, np.float64), count)
    return np.minimum(rates, workload.max_rps or math.inf)


def _in_segments(workload: Segments, random: np.random.Generator) -> Floats:
    rates = segment_rates(workload, random)
    starts = np.arange(len(rates)) * workload.interval_s
    lengths = np.clip(workload.duration_s - starts, 0, workload.interval_s)
    with np.errstate(over="ignore"):
        _require_possible(workload, float(rates @ lengths))
    counts = random.poisson(rates * lengths)
    places = np.repeat(np.arange(len(rates)), counts)
    return np.sort(starts[places] + random.random(len(places)) * lengths[places])


def _of_trace(workload: Trace) -> Floats:
    column = workload.column
    try:
        with io.TextIOWrapper(open_regular(workload.file), "utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if column not in (rows.fieldnames or ()):
                raise ValueError(f"has no column {column!r}")
            at_s = np.sort(np.array([_seconds(row[column], rows.line_num) for row in rows]))
            if not len(at_s):
                raise ValueError("has no row")
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(
            f"{workload.file}: cannot be read as a trace: {error}",
            f"It must be a CSV file with a column {column!r} of seconds; see `column`.",
        ) from error
    at_s = at_s / workload.time_scale
    begin_s, end_s = workload.start_s, workload.start_s + workload.duration_s
    inside = at_s[(at_s >= begin_s) & (at_s < end_s)]
    if not len(inside):
        raise DatasetError(
            f"{workload.file}: no time from {begin_s:.15g} s (start_s) to {end_s:.15g} s (and duration_s)",
            f"Choose start_s: its times / time_scale are {at_s[0]:.15g} to {at_s[-1]:.15g} s.",
        )
    return inside - begin_s


def _seconds(text: str | None, line: int) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(seconds := float(text or "")):
            return seconds
    raise ValueError(f"line {line}: expected seconds, found {text or 'nothing'}")


def driver_test(name: str, workload: Workload, samples: Path, schedule: Path) -> DriverTest:
    """What a driver is told; `schedule` is written by then."""
    rule: Literal["timed", "slots", "groups"] = "timed"
    width, think_s, limit_s, period_s = 1, 0.0, None, None
    match workload:
        case Batch():
            rule, width = "groups", workload.size
        case Closed():
            rule, width, think_s, limit_s = (
                "slots",
                workload.concurrency,
                workload.think_s,
                workload.duration_s,
            )
        case _:
            period_s = workload.duration_s
    return DriverTest(
        name=name, samples=str(samples.resolve()), schedule=str(schedule.resolve()), rule=rule, width=width,
        warm_up=workload.warm_up, think_ns=round(think_s * NANOSECONDS_PER_SECOND),
        period_ns=None if period_s is None else round(period_s * NANOSECONDS_PER_SECOND),
        limit_ns=None if limit_s is None else round(limit_s * NANOSECONDS_PER_SECOND),
    )  # fmt: skip
