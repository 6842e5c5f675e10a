from __future__ import annotations

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


def test_rates_of_segments_are_drawn_as_they_say() -> None:
    random = np.random.default_rng(3)
    drawn = Segments(duration_s=1e6, rps=Lognormal(mu=1.0, sigma=0.5))
    logs = np.log(segment_rates(drawn, random))
    assert logs.mean() == pytest.approx(1.0, abs=0.02) and logs.std() == pytest.approx(0.5, rel=0.05)
    chain = segment_rates(Segments(duration_s=1e6, rps=Markov(rates=(2, 30), change=0.3)), random)
    assert set(chain) == {2.0, 30.0}
    assert np.mean(np.diff(chain) != 0) == pytest.approx(0.3, abs=0.01)
    capped = Segments(duration_s=100, interval_s=10, rps=[1, 50], max_rps=20)
    at_s = make_schedule(capped, 5, seed=2).at_ns / NS
    per_interval = np.histogram(at_s, np.arange(0, 101, 10))[0]
    assert per_interval[1::2].mean() == pytest.approx(200, rel=0.1) and per_interval[::2].mean() < 30


def test_one_seed_is_one_schedule_and_each_sample_comes_equally_often() -> None:
    batch = Batch(size=8, iterations=10, warm_up=5)
    one, same, other = (make_schedule(batch, 17, seed) for seed in (1, 1, 2))
    assert (one.sample == same.sample).all() and (one.sample != other.sample).any()
    counts = np.bincount(one.sample, minlength=17)
    assert len(one) == 85 and counts.min() == counts.max() == 5


def test_a_trace_is_scaled_cut_and_refused_with_what_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("Timestamp,Model\n100,x\n300,x\n250,x\n900,x\n")
    trace = Trace(file=path, time_scale=100, start_s=1, duration_s=3)
    assert (make_schedule(trace, 4, 0).at_ns / NS).tolist() == [0.0, 1.5, 2.0]
    path.write_text("when\n1\n")
    with pytest.raises(DatasetError, match="trace.csv: cannot be read as a trace") as found:
        make_schedule(trace, 4, 0)
    assert "'Timestamp' of seconds" in found.value.remedy


def test_a_workload_without_a_row_or_with_two_ends_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 requests"):
        make_schedule(Segments(duration_s=1, rps=[0.0]), 3, 0)
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
    assert driver_test("x", Rate(qps=1, duration_s=1), Path("a"), Path("b")).rule == "timed"
