from __future__ import annotations

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
    _at_rate,
    driver_test,
    make_schedule,
    segment_rates,
)

NS = 1e9


@pytest.mark.parametrize(("arrival", "cv"), [("poisson", 1.0), ("gamma", 2.0), ("constant", 0.0)])
def test_arrivals_have_the_rate_and_the_spread_that_are_asked_for(arrival: str, cv: float) -> None:
    own = {"cv": cv} if arrival == "gamma" else {}
    rate = Rate.model_validate({"qps": 20, "duration_s": 5000, "arrival": arrival, **own})
    gaps = np.diff(make_schedule(rate, 10, seed=1).at_ns) / NS
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.02)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, abs=0.05)


def test_arrivals_in_bursts_last_as_long_as_they_should() -> None:
    bursts = Rate(qps=10, duration_s=100, arrival="gamma", cv=10)
    every = [make_schedule(bursts, 10, seed).at_ns for seed in range(100)]
    assert any(len(at_ns) > 1000 + 10 * 31 + 100 for at_ns in every), "one draw of gaps was not enough"
    assert np.mean([at_ns[-1] / NS for at_ns in every]) > 80
    assert max(at_ns[-1] / NS for at_ns in every) < 100


def test_arrivals_are_as_many_as_asked_for_however_short_the_time_and_wide_the_gaps() -> None:
    short = Rate(qps=10, duration_s=10, arrival="gamma", cv=5)
    assert (5**2 - 1) / 2 == 12, "how many more than 100 would come if a whole gap came first"
    counts, firsts = [], []
    for seed in range(4000):
        at_s = _at_rate(short, np.random.default_rng(seed))
        counts.append(len(at_s))
        firsts += [at_s[0]] if len(at_s) else []
    assert np.mean(counts) == pytest.approx(100, abs=4)
    assert np.mean(firsts) > 0.5, "no burst at the start"


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


def test_a_trace_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    (path := tmp_path / "trace.csv").write_text("\ufeffTimestamp\n1\n")
    assert len(make_schedule(Trace(file=path, duration_s=3), 4, 0)) == 1


def test_a_trace_of_another_time_says_which_it_has(tmp_path: Path) -> None:
    (path := tmp_path / "trace.csv").write_text("Timestamp\n1700000000.5\n1700000060\n")
    with pytest.raises(DatasetError, match="trace.csv: no time from 0 s .start_s. to 30 s") as found:
        make_schedule(Trace(file=path, duration_s=30), 4, 0)
    assert "time_scale are 1700000000.5 to 1700000060 s" in found.value.remedy
    since = Trace(file=path, start_s=1700000000, duration_s=30)
    assert (make_schedule(since, 4, 0).at_ns / NS).tolist() == [0.5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("when\n1\n", "trace.csv: cannot be read as a trace: has no column 'Timestamp'"),
        ("Timestamp\n1\nsoon\n", "line 3: expected seconds, found soon"),
        ("Model,Timestamp\nx,1\ny\n", "line 3: expected seconds, found nothing"),
        ("Timestamp\n1\nnan\n", "line 3: expected seconds, found nan"),
        (f"Timestamp\n{'1' * 200_000}\n", "field larger than field limit"),
        ("", "has no column 'Timestamp'"),
        ("Timestamp\n", "trace.csv: cannot be read as a trace: has no row"),
    ],
)
def test_a_damaged_trace_names_its_line_and_what_it_should_be(tmp_path: Path, text: str, said: str) -> None:
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
        (Rate(qps=1e305, duration_s=1e6), "inf requests"),
        (Batch(size=10**9, iterations=10**6), "1,000,000,000,000,000 requests"),
        (Closed(concurrency=1, iterations=10**12), "1,000,000,000,000 requests"),
        (Segments(duration_s=100, rps=Lognormal(mu=60, sigma=1)), "requests"),
        (Segments(duration_s=100, rps=[1e308]), "inf requests"),
        (Segments(duration_s=1e6, interval_s=1e-9, rps=[1]), "1,000,000,000,000,000 intervals"),
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
        {**RATE, "arrival": "gamma", "cv": 1e200},
        {**RATE, "arrival": "gamma", "cv": 1e-200},
        {**RATE, "duration_s": 1e99},
        {"kind": "closed", "concurrency": 2, "duration_s": 1e300},
        {**CLOSED, "think_s": 1e300},
    ],
)
def test_a_value_that_nothing_could_hold_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="should be (less|greater) than or equal to"):
        TypeAdapter(Workload).validate_python(asked)


@pytest.mark.parametrize("more", [{}, {"arrival": "constant"}])
def test_a_spread_that_only_gamma_has_is_refused_elsewhere(more: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"does nothing with arrival: \w+; choose arrival: gamma"):
        TypeAdapter(Workload).validate_python({**RATE, "cv": 2, **more})


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
