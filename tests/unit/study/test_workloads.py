from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from harness_llm.errors import ConfigError, DatasetError
from harness_llm.study.workloads import (
    Batch,
    Closed,
    Lognormal,
    Markov,
    Rate,
    Segments,
    Trace,
    Workload,
    driver_test,
    make_schedule,
    segment_rates,
)

NS = 1e9


@pytest.mark.parametrize(("arrival", "cv"), [("poisson", 1.0), ("gamma", 2.0), ("constant", 0.0)])
def test_arrivals_have_the_rate_and_the_spread_that_are_asked_for(arrival: str, cv: float) -> None:
    rate = Rate.model_validate({"qps": 20, "duration_s": 5000, "arrival": arrival, "cv": cv or 1.0})
    gaps = np.diff(make_schedule(rate, 10, seed=1).at_ns) / NS
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.02)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, abs=0.05)


def test_arrivals_in_bursts_last_as_long_as_they_should() -> None:
    bursts = Rate(qps=10, duration_s=100, arrival="gamma", cv=10)
    every = [make_schedule(bursts, 10, seed).at_ns for seed in range(100)]
    assert any(len(at_ns) > 1000 + 10 * 31 + 100 for at_ns in every), "one draw of gaps was not enough"
    assert np.mean([at_ns[-1] / NS for at_ns in every]) > 80
    assert max(at_ns[-1] / NS for at_ns in every) < 100


def test_rates_of_segments_are_drawn_as_they_say() -> None:
    random = np.random.default_rng(3)
    drawn = Segments(duration_s=1e6, rps=Lognormal(mu=1.0, sigma=0.5))
    logs = np.log(segment_rates(drawn, random))
    assert logs.mean() == pytest.approx(1.0, abs=0.02) and logs.std() == pytest.approx(0.5, rel=0.05)
    chain = segment_rates(Segments(duration_s=1e6, rps=Markov(rates=(2, 30), change=0.3)), random)
    assert set(chain) == {2.0, 30.0}
    assert np.mean(np.diff(chain) != 0) == pytest.approx(0.3, abs=0.01)
    every = [segment_rates(Segments(duration_s=100, rps=Markov(rates=(1, 5), change=change)), random).tolist()
             for change in (0, 1)]  # fmt: skip
    assert every == [[1] * 5, [1, 5, 1, 5, 1]], "the first interval has the first rate"
    capped = Segments(duration_s=100, interval_s=10, rps=[1, 50], max_rps=20)
    at_s = make_schedule(capped, 5, seed=2).at_ns / NS
    per_interval = np.histogram(at_s, np.arange(0, 101, 10))[0]
    assert per_interval[1::2].mean() == pytest.approx(200, rel=0.1) and per_interval[::2].mean() < 30


def test_one_seed_is_one_schedule_and_samples_come_in_rounds() -> None:
    batch = Batch(size=8, iterations=10, warm_up=5)
    one, same, other = (make_schedule(batch, 17, seed) for seed in (1, 1, 2))
    assert (one.sample == same.sample).all() and (one.sample != other.sample).any()
    counts = np.bincount(one.sample, minlength=17)
    assert len(one) == 85 and counts.min() == counts.max() == 5
    assert set(np.bincount(make_schedule(Batch(size=1, iterations=20), 17, 1).sample)) == {1, 2}


def test_a_trace_is_scaled_cut_and_refused_with_what_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("Timestamp,Model\n100,x\n300,x\n250,x\n900,x\n")
    trace = Trace(file=path, time_scale=100, start_s=1, duration_s=3)
    assert (make_schedule(trace, 4, 0).at_ns / NS).tolist() == [0.0, 1.5, 2.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("when\n1\n", "trace.csv: cannot be read as a trace: has no column 'Timestamp'"),
        ("Timestamp\n1\nsoon\n", "line 3: expected seconds, found soon"),
        ("Model,Timestamp\nx,1\ny\n", "line 3: expected seconds, found nothing"),
        ("Timestamp\n1\nnan\n", "line 3: expected seconds, found nan"),
        (f"Timestamp\n{'1' * 200_000}\n", "field larger than field limit"),
        ("", "has no column 'Timestamp'"),
    ],
)
def test_a_damaged_trace_names_its_line_and_what_it_should_be(tmp_path: Path, text: str, said: str) -> None:
    csv.field_size_limit(1 << 17)  # Python's own; a CSV data set lifts it
    (path := tmp_path / "trace.csv").write_text(text)
    with pytest.raises(DatasetError, match=said) as found:
        make_schedule(Trace(file=path, duration_s=3), 4, 0)
    assert "'Timestamp' of seconds" in found.value.remedy


@pytest.mark.parametrize(
    ("make", "said"),
    [(lambda _: None, "No such file"), (Path.mkdir, "is a folder"), (os.mkfifo, "named pipe")],
)
def test_a_trace_that_is_no_file_is_refused_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(path := tmp_path / "trace.csv")
    with pytest.raises(DatasetError, match=f"trace.csv: cannot be read as a trace: .*{said}"):
        make_schedule(Trace(file=path, duration_s=3), 4, 0)


@pytest.mark.parametrize(
    ("workload", "count"),
    [
        (Segments(duration_s=1, rps=[0.0]), "0 requests"),
        (Segments(duration_s=1, rps=[]), "0 requests"),
        (Rate(qps=1e9, duration_s=1e6), "1,000,000,000,000,000 requests"),
        (Rate(qps=1e300, duration_s=1e300), "inf requests"),
        (Batch(size=10**9, iterations=10**6), "1,000,000,000,000,000 requests"),
        (Closed(concurrency=1, iterations=10**12), "1,000,000,000,000 requests"),
        (Segments(duration_s=100, rps=Lognormal(mu=60, sigma=1)), "requests"),
        (Segments(duration_s=100, rps=[1e308]), "inf requests"),
        (Segments(duration_s=1e12, interval_s=1e-3, rps=[1]), "1,000,000,000,000,000 intervals"),
    ],
)
def test_a_workload_without_a_request_or_with_too_many_is_refused_before_it_is_made(
    workload: Workload, count: str
) -> None:
    with pytest.raises(ConfigError, match=f"{workload.kind}: .*{count}; 1 to 10,000,000 are possible"):
        make_schedule(workload, 3, 0)


def test_an_interval_that_is_longer_than_all_is_cut_before_it_is_drawn() -> None:
    assert len(make_schedule(Segments(duration_s=1, interval_s=1e9, rps=[50]), 3, 0)) < 100


CLOSED = {"kind": "closed", "concurrency": 2, "iterations": 1}
RATE = {"kind": "rate", "qps": 1, "duration_s": 1}


@pytest.mark.parametrize(
    "asked",
    [
        {**CLOSED, "warm_up": 10**12},
        {**CLOSED, "concurrency": 10**12},
        {**RATE, "cv": 1e200},
        {**RATE, "cv": 1e-200},
    ],
)
def test_a_value_that_nothing_could_hold_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="should be (less|greater) than or equal to"):
        TypeAdapter(Workload).validate_python(asked)


def test_a_closed_workload_with_two_ends_is_refused() -> None:
    with pytest.raises(ValueError, match="one of iterations and duration_s"):
        TypeAdapter(Workload).validate_python({"kind": "closed", "concurrency": 2})


def test_each_kind_tells_the_driver_its_rule() -> None:
    closed = driver_test("x", Closed(concurrency=3, duration_s=2, think_s=0.5), Path("a"), Path("b"))
    assert (closed.rule, closed.width, closed.think_ns, closed.limit_ns) == (
        "slots",
        3,
        500_000_000,
        2 * 10**9,
    )
    batch = driver_test("x", Batch(size=4, iterations=2, warm_up=1), Path("a"), Path("b"))
    assert (batch.rule, batch.width, batch.warm_up, batch.limit_ns) == ("groups", 4, 1, None)
    rate = driver_test("x", Rate(qps=1, duration_s=3), Path("a"), Path("b"))
    assert (rate.rule, rate.period_ns, rate.limit_ns) == ("timed", 3 * 10**9, None)
    assert closed.period_ns is batch.period_ns is None
