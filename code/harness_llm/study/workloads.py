"""When a load asks: kinds of workload that a user writes, and the schedule that each makes of a seed."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from harness_llm.core import NANOSECONDS_PER_SECOND
from harness_llm.driver.issuers import Schedule
from harness_llm.errors import ConfigError, DatasetError
from harness_llm.study.study_file import Strict
from harness_llm.transport.spec import DriverTest

Floats = npt.NDArray[np.float64]
_MOST_ROWS = 10_000_000


class _Workload(Strict):
    """What all kinds share.

    Attributes:
        warm_up: Rows that are asked, and answered, before the start.
    """

    warm_up: NonNegativeInt = 0


class Batch(_Workload):
    """So many together, and the next when all of them are answered."""

    kind: Literal["batch"] = "batch"
    size: PositiveInt
    iterations: PositiveInt


class Closed(_Workload):
    """So many open at once; by rows (`iterations`) or by time (`duration_s`)."""

    kind: Literal["closed"] = "closed"
    concurrency: PositiveInt
    iterations: PositiveInt | None = None
    duration_s: PositiveFloat | None = None
    think_s: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _has_one_end(self) -> Closed:
        if (self.iterations is None) == (self.duration_s is None):
            raise ValueError("needs one of iterations and duration_s")
        return self


class Rate(_Workload):
    """Arrivals at a rate, requests a second; `cv` is that of the gaps of `gamma`."""

    kind: Literal["rate"] = "rate"
    qps: PositiveFloat
    duration_s: PositiveFloat
    arrival: Literal["poisson", "constant", "gamma"] = "poisson"
    cv: PositiveFloat = 1.0


class Lognormal(Strict):
    """Rates that are drawn: the logarithm has mean `mu` and deviation `sigma`."""

    mu: float
    sigma: NonNegativeFloat


class Markov(Strict):
    """Two rates; after each interval the other one is taken with probability `change`."""

    rates: tuple[NonNegativeFloat, NonNegativeFloat]
    change: Annotated[float, Field(ge=0, le=1)]


class Segments(_Workload):
    """A rate for each interval, Poisson arrivals within: listed, drawn, or by a chain of two states."""

    kind: Literal["segments"] = "segments"
    interval_s: PositiveFloat = 20.0
    duration_s: PositiveFloat
    rps: list[NonNegativeFloat] | Lognormal | Markov
    max_rps: PositiveFloat | None = None


class Trace(_Workload):
    """Arrivals of a CSV file: seconds in the column `column`, divided by `time_scale`."""

    kind: Literal["trace"] = "trace"
    file: Path
    column: str = "Timestamp"
    time_scale: PositiveFloat = 1.0
    start_s: NonNegativeFloat = 0.0
    duration_s: PositiveFloat


Workload = Annotated[Batch | Closed | Rate | Segments | Trace, Field(discriminator="kind")]


def make_schedule(workload: Workload, samples: int, seed: int) -> Schedule:
    """The rows of a workload, warm-up before them; one seed, one schedule.

    Samples are taken in an order that is drawn, each equally often.

    Raises:
        ConfigError: It has no row, or too many.
        DatasetError: A trace cannot be read.
    """
    random = np.random.default_rng(seed)
    at_s = _arrivals(workload, random)
    if not 0 < len(at_s) <= _MOST_ROWS:
        raise ConfigError(
            f"workload {workload.kind}: {len(at_s):,} requests; 1 to {_MOST_ROWS:,} are possible"
        )
    count = workload.warm_up + len(at_s)
    rounds = [random.permutation(samples) for _ in range(math.ceil(count / samples))]
    at_ns = np.concatenate((np.zeros(workload.warm_up), at_s * NANOSECONDS_PER_SECOND))
    return Schedule(at_ns.astype(np.int64), np.concatenate(rounds)[:count].astype(np.int64))


def _arrivals(workload: Workload, random: np.random.Generator) -> Floats:
    match workload:
        case Batch():
            return np.zeros(workload.size * workload.iterations)
        case Closed():
            # By time it asks the same rows again and again: more than one round is only a longer file.
            return np.zeros(workload.iterations or 1 << 16)
        case Rate():
            return _at_rate(workload, random)
        case Segments():
            return _in_segments(workload, random)
        case Trace():
            return _of_trace(workload)


def _at_rate(workload: Rate, random: np.random.Generator) -> Floats:
    count = math.ceil(workload.qps * workload.duration_s)
    if count > _MOST_ROWS:
        return np.zeros(count)
    if workload.arrival == "constant":
        return np.arange(count) / workload.qps
    shape = 1.0 if workload.arrival == "poisson" else workload.cv**-2
    gaps = random.gamma(shape, 1 / (shape * workload.qps), count + 10 * math.isqrt(count) + 100)
    at_s = np.cumsum(gaps)
    return at_s[at_s < workload.duration_s]


def segment_rates(workload: Segments, random: np.random.Generator) -> Floats:
    """The rate of each interval, requests a second."""
    count = math.ceil(workload.duration_s / workload.interval_s)
    match workload.rps:
        case Lognormal(mu=mu, sigma=sigma):
            rates = random.lognormal(mu, sigma, count)
        case Markov(rates=pair, change=change):
            rates = np.array(pair)[np.cumsum(random.random(count) < change) % 2]
        case listed:
            rates = np.resize(np.array(listed, np.float64), count)
    return np.minimum(rates, workload.max_rps or math.inf)


def _in_segments(workload: Segments, random: np.random.Generator) -> Floats:
    rates = segment_rates(workload, random)
    counts = random.poisson(rates * workload.interval_s)
    begins = np.repeat(np.arange(len(rates)) * workload.interval_s, counts)
    at_s = np.sort(begins + random.random(len(begins)) * workload.interval_s)
    return at_s[at_s < workload.duration_s]


def _of_trace(workload: Trace) -> Floats:
    try:
        with workload.file.open(newline="", encoding="utf-8") as file:
            at_s = np.sort(np.array([float(row[workload.column]) for row in csv.DictReader(file)]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{workload.file}: cannot be read as a trace: {error!r}",
            f"It must be a CSV file with a column {workload.column!r} of seconds; see `column`.",
        ) from error
    at_s = at_s / workload.time_scale - workload.start_s
    return at_s[(at_s >= 0) & (at_s < workload.duration_s)]


def driver_test(name: str, workload: Workload, samples: Path, schedule: Path) -> DriverTest:
    """What a driver is told; `schedule` is written by then."""
    rule: Literal["timed", "slots", "groups"] = "timed"
    width, think_s, limit_s = 1, 0.0, None
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
            pass
    return DriverTest(
        name=name, samples=str(samples.resolve()), schedule=str(schedule.resolve()), rule=rule, width=width,
        warm_up=workload.warm_up, think_ns=round(think_s * NANOSECONDS_PER_SECOND),
        limit_ns=None if limit_s is None else round(limit_s * NANOSECONDS_PER_SECOND),
    )  # fmt: skip
