"""The search against engines whose parameters it is not told; their time only counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hidden_engine import Hidden, future

from harness_llm.engines.simulated_steps import Batching
from harness_llm.errors import EngineError, HostError
from harness_llm.tune.batching import Noise, StepLimits, simulate
from harness_llm.tune.batching_loop import TERMS
from harness_llm.tune.future import Future
from harness_llm.tune.giving_up import RAMP, RUN, RunWatch
from harness_llm.tune.learning import learn
from harness_llm.tune.model import Model
from harness_llm.tune.search import PROBE, Search, Tried
from harness_llm.tune.seen_run import Observed

SAMPLES = 128
BATCHING = Batching(step_tokens=512, weights_ms=20, token_ms=0.3, context_us=0.2, host_ms=2, noise=0.01)


def hidden(**changes: object) -> Hidden:
    random = np.random.RandomState(5)
    prompts = random.randint(20, 200, SAMPLES)
    answers = random.randint(10, 60, SAMPLES)
    test = future(SAMPLES, ttft_ms=800, tpot_ms=60, seconds=40)
    return replace(Hidden(test, BATCHING, prompts, answers, concurrent=64), **changes)


def search(engines: Hidden, said: list[str]) -> Search:
    most = np.full(SAMPLES, 64)
    return Search(engines, engines.future, engines.prompts, most, 0.9, said.append)


def test_one_whole_run_is_enough_and_is_valid_near_the_best_rate() -> None:
    engines, said = hidden(), list[str]()
    tuning = search(engines, said)
    found = tuning.find()
    assert found.qps is not None and found.judged is not None and found.judged.is_valid
    assert found.whole_runs == 1
    assert engines.share_valid(0.9 * found.qps, 2) == 1
    assert engines.share_valid(1.12 * found.qps, 2) == 0
    assert found.predicted is not None
    assert found.predicted.tpot.p99_ns == pytest.approx(found.judged.tpot.p99_ns, rel=0.2)
    assert any("P(VALID)" in line for line in said)
    again = search(hidden(seed=9), said)
    again.tried = tuning.tried[:-1]
    again.find()
    assert {tried.kind for tried in again.tried[len(tuning.tried) - 1 :]} == {RUN}, "no second ramp"


def test_a_lost_run_takes_the_rate_down_by_a_quarter_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    engines, rates = hidden(), list[float]()
    tuning = search(engines, [])
    seen = engines.answer(5.0, 32, 1)

    def ask(qps: float, kind: str, look: object) -> Tried:
        rates.append(qps)
        return Tried(qps, kind, seen, "lost")

    monkeypatch.setattr(tuning, "engines", SimpleNamespace(ask=ask))
    monkeypatch.setattr(tuning, "first_rate", lambda: 40.0)
    monkeypatch.setattr(tuning, "_next_rate", lambda qps: 1.0)
    assert tuning.find().qps is None
    assert rates[:4] == pytest.approx([40, 30, 22.5, 16.88]) and len(rates) == 9
    resumed = search(engines, [])
    resumed.tried = [Tried(40.0, RUN, seen, "lost")]
    monkeypatch.setattr(resumed, "best", lambda around: 1.0)
    assert resumed.first_rate() == 30
    resumed.tried = [Tried(40.0, RUN, seen, PROBE)]
    assert resumed.first_rate() == 1


def test_limits_that_no_rate_keeps_are_said() -> None:
    engines = hidden(future=future(SAMPLES, ttft_ms=5, tpot_ms=60, seconds=40))
    with pytest.raises(EngineError, match=r"at 0.125 queries/s 100% of the queries break a limit") as alone:
        search(engines, []).find()
    assert "others" not in alone.value.message
    beside_others = search(replace(engines, others=0.35), [])
    with pytest.raises(EngineError, match=r"break a limit; others held 35% of the host's cores") as raised:
        beside_others.find()
    assert str(raised.value.remedy).startswith("Run it again when the host is idle")


def test_the_ramp_of_a_slow_engine_goes_down() -> None:
    slow = Batching(step_tokens=512, weights_ms=100, token_ms=3, host_ms=2)
    test = future(SAMPLES, ttft_ms=4000, tpot_ms=108, seconds=40)
    engines = hidden(batching=slow, future=test)
    tuning = search(engines, [])
    with pytest.raises(EngineError, match="no rate .*; a run of 128 queries is never VALID") as raised:
        tuning.first_rate()  # it was told from the ramp
    assert str(raised.value.remedy).startswith("Raise min_query_count in user.conf to 459 or more")
    assert [tried.qps for tried in tuning.tried] == [0.5, 0.125]
    assert tuning.tried[-1].seen.done.sum() >= 20, "it lasts until step times can be told"


@pytest.mark.parametrize(("others", "said"), [(0.6, ""), (0.2, "the margin is widened"), (0.01, "")])
def test_what_others_take_of_the_host_is_refused_or_widens_the_margin(others: float, said: str) -> None:
    lines: list[str] = []
    tuning = search(hidden(others=others), lines)
    if others > 0.5:
        with pytest.raises(HostError, match="others held 60% of the host"):
            tuning.first_rate()
        assert len(tuning.tried) == 1, "the ramp is not continued on a busy host"
        engines = hidden()
        later = search(engines, lines)
        later.tried = list(tuning.tried)
        later.first_rate()
        assert not {tried.others for tried in later.tried} - {0.0}, (
            "what was measured beside others is not used"
        )
        return
    tuning.first_rate()
    seen = [tried.seen for tried in tuning.tried]
    widened = tuning.learn(seen)
    tuning.tried = [replace(tried, others=0.0) for tried in tuning.tried]
    assert (widened.spread > tuning.learn(seen).spread) == bool(said)
    assert any("the margin is widened" in line for line in lines) == bool(said)


class _Told(Model):
    """A model of which only P(VALID) by rate is known."""

    def __init__(self, p: Callable[[float], float]) -> None:
        object.__setattr__(self, "p", p)

    def passes(
        self, future: Future, qps: float, confidence: float, schedules: Sequence[int | None] = (None,)
    ) -> bool:
        return bool(self.p(qps) >= confidence)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("p", "wanted"),
    [
        (lambda qps: 1 - qps / 100 if qps < 10 else 0.0, 10.0),  # steep
        (
            lambda qps: 0.95 if qps < 2 else 0.7 if qps < 20 else 0.0,
            20.0,
        ),  # pauses spoil some runs at any rate
        (lambda qps: 0.95 if qps < 17 else 0.7 if qps < 20 else 0.0, 17.0),  # a risk for little
        (lambda qps: 0.6 if qps < 20 else 0.0, 20.0),  # nothing is surer
    ],
)
def test_a_risk_is_taken_where_it_is_worth_much(p: Callable[[float], float], wanted: float) -> None:
    found = _Told(p).best(hidden().future, 0.9, 12.0)
    assert found == pytest.approx(wanted, rel=0.03)


def test_pauses_of_a_seed_are_the_same_at_every_rate() -> None:
    costs = np.zeros(TERMS)
    costs[:2] = 0.02, 0.005  # of more running answers a step takes longer
    noise = Noise(pauses_per_s=0.05, pause_s=30.0)
    paused = []
    for qps in (1.0, 5.0):
        due, ones = np.arange(600) / qps, np.ones(600, np.int64)
        first, *_ = simulate(due, ones, 50 * ones, costs, np.ones(1), StepLimits(), noise, 0.0, seed=3)
        steps = np.diff(np.unique(first))
        paused.append(steps[steps > 6][:2])
    assert paused[0] == pytest.approx(paused[1], abs=3), "else chance decides which of two rates passes"


def test_an_interrupted_ramp_goes_on_where_it_was() -> None:
    engines = hidden()
    first = search(engines, [])
    first.first_rate()
    assert len(first.tried) > 2 and {tried.kind for tried in first.tried} == {RAMP}
    second = search(engines, [])
    second.tried = first.tried[:1]
    second.first_rate()
    assert [tried.qps for tried in second.tried] == [tried.qps for tried in first.tried]


def test_a_budget_begins_no_further_run() -> None:
    tuning = search(hidden(), [])
    tuning.stops = lambda: "the budget is spent"
    assert tuning.find().qps is None


def test_step_times_are_found_again_from_events_alone() -> None:
    engines = hidden()
    model = learn(
        [engines.answer(qps, 120, 3) for qps in (2.0, 12.0)],
        engines.prompts, np.full(SAMPLES, 64), engines.limits, 1,
    )  # fmt: skip
    assert model.costs[0] == pytest.approx(0.022, rel=0.1)
    other = engines.answer(7.0, 120, 4)
    again = model.run(other.due, other.sample, tokens=other.tokens, noise=Noise())
    assert np.median(again.tpot) == pytest.approx(np.median(other.tpot), rel=0.05)
    assert np.quantile(again.ttft, 0.9) == pytest.approx(np.quantile(other.ttft, 0.9), rel=0.15)


def test_a_look_that_finds_no_rate_does_not_end_the_run() -> None:
    engines, shown = hidden(), list[Observed]()

    def learned(seen: Observed) -> Model:
        shown.append(seen)
        return _Told(lambda qps: 0.0)

    watch = RunWatch(engines.future, 0.9, 5.0, learned, lambda _: None)
    seen = engines.answer(5.0, 200, 1)
    assert watch.look(seen) == "" and watch.better is None and shown


def test_too_little_is_not_learned_from() -> None:
    engines = hidden()
    seen = engines.answer(2.0, 8, 3)
    with pytest.raises(EngineError, match="too few answers"):
        learn([seen], engines.prompts, np.full(SAMPLES, 64), engines.limits, 1)


def test_what_comes_later_is_not_seen() -> None:
    whole = hidden().answer(5.0, 100, 3)
    seen = whole.by(6.0)
    assert isinstance(seen, Observed) and 0 < seen.done.sum() < len(seen.due) < 100
    assert seen.finish[seen.done].max() <= 6.0
    assert Tried(5.0, RUN, seen).valid is None
