from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from golden.run_folder import build_run
from synthetic_run import Plan, simulate, write_events, write_run

from harness_llm.report.curves import band, edges, token_rate
from harness_llm.report.measured import Measured
from harness_llm.report.words import findings

if TYPE_CHECKING:
    from pathlib import Path

STALLS = ((100.0, 4.0), (400.0, 7.0))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real LoadGen logs of 24,576 samples a test."""
    folder = tmp_path_factory.mktemp("recorded") / "run"
    return build_run(
        folder, {"Offline/performance": "rehearsal-offline", "Server/performance": "rehearsal-server"}
    )


@pytest.mark.parametrize("scenario", ["Offline", "Server"])
def test_no_token_is_lost_on_the_way_to_a_curve(recorded: Path, scenario: str) -> None:
    measured = Measured.read(recorded / scenario / "performance")
    made = (measured.rate.values * np.diff(measured.rate.edges_s)).sum()
    assert made == pytest.approx(measured.rows.tokens.sum(), rel=1e-6) and made > 10**6


@pytest.mark.parametrize("scenario", ["Offline", "Server"])
def test_a_test_without_pauses_has_none(recorded: Path, scenario: str) -> None:
    assert Measured.read(recorded / scenario / "performance").stalls == ()


def test_the_phases_cover_the_test_and_their_costs_add_up(recorded: Path) -> None:
    measured = Measured.read(recorded / "Offline" / "performance")
    names = [phase.name for phase in measured.phases]
    assert names == ["ramp", "steady", "tail"]
    assert measured.phases[0].start_s == 0 and measured.phases[-1].end_s == pytest.approx(measured.seconds)
    lost = sum(phase.cost for phase in measured.phases)
    usual = measured.phases[1].tokens_per_s
    assert 1 - lost == pytest.approx(measured.rows.tokens.sum() / measured.seconds / usual, abs=0.01)
    assert 0.05 < measured.phases[2].cost < 0.15  # the last answers run alone


@pytest.mark.parametrize("replicas", [1, 4])
def test_planted_stalls_are_named_in_words(tmp_path: Path, replicas: int) -> None:
    run = write_run(
        tmp_path / "run", Plan(qps=8.0 * replicas, queries=4800 * replicas, stalls=STALLS, replicas=replicas)
    )
    measured = Measured.read(run / "Server" / "performance")
    assert [(round(stall.start_s), round(stall.seconds)) for stall in measured.stalls] == [(100, 4), (400, 7)]
    told = findings(measured)
    who = "The engine" if replicas == 1 else "Every replica"
    assert told[0].startswith(f"{who} stood still for 4.") and told[1].startswith(f"{who} stood still for 7.")
    assert any("replicas stood still for 7." in line and "over the limit of TTFT" in line for line in told)


def test_one_replica_that_stood_still_is_named(tmp_path: Path) -> None:
    plan = Plan(replicas=2, qps=16.0)
    events, stalled = simulate(plan), simulate(Plan(replicas=2, qps=16.0, stalls=((100.0, 5.0),)))
    own = events["replica"] == 1
    events[own] = stalled[own]
    measured = Measured.read(write_events(tmp_path / "run", plan, events) / "Server" / "performance")
    assert [stall.replicas for stall in measured.stalls] == [(1,)]
    assert findings(measured)[0].startswith("Replica 1 stood still for 5.")


def test_an_engine_that_falls_behind_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Plan(queries=1000, slower=3.0))
    told = findings(Measured.read(run / "Server" / "performance"))
    assert any("The engine fell behind" in line for line in told)


def test_a_single_slow_sample_among_270336_stays_visible() -> None:
    generator = np.random.default_rng(0)
    at_s = np.sort(generator.uniform(0, 800, 270_336))
    latency = generator.gamma(3, 0.1, len(at_s))
    latency[200_000] = 9.0
    found = band(at_s, latency, edges(800.0))
    assert found.high.max() == 9.0 and len(found.high) == 600
    assert found.at_s[found.high.argmax()] == pytest.approx(at_s[200_000], abs=800 / 600)
    assert found.count.sum() == len(at_s)


def test_a_broken_test_shows_what_it_has(tmp_path: Path) -> None:
    plan = Plan(queries=800)
    events = simulate(plan)
    cut = events["finished_ns"] > np.median(events["finished_ns"])
    events["finished_ns"][cut] = 0
    events["status"][cut] = 1
    events["first_token_ns"][cut] = 0
    measured = Measured.read(write_events(tmp_path / "run", plan, events) / "Server" / "performance")
    assert np.isnan(measured.rows.ttft_ms).sum() == cut.sum() > 100
    rate = token_rate(measured.rows, measured.begins_s, measured.edges_s)
    assert np.isfinite(rate.values).all() and rate.values.max() > 0
