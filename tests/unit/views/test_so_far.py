from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from harness_llm.results.latency_bins import binned
from harness_llm.results.live_records import LiveRecord, LiveWarning, ReplicaState, TestState
from harness_llm.views.so_far import RunSoFar, TestSoFar

STATE = TestState(name="Server/x", began_at_s=1000.0, is_timed=True, target_qps=4.0)


def _at(second: float, *tests: TestState, **changes: object) -> LiveRecord:
    return replace(LiveRecord(at_s=1000.0 + second, began_at_s=1000.0, tests=tests), **changes)


def _after(second: float, **changes: object) -> TestSoFar:
    run = RunSoFar()
    run.take(_at(second, replace(STATE, **changes)))
    return run.running[0]


def test_nothing_is_estimated_before_anything_is_known() -> None:
    assert _after(1, is_timed=False, expected=10).left_s is None
    assert _after(1, is_timed=False, expected=10, issued=5).left_s is None
    assert _after(1, expected=10).left_s == pytest.approx(2.5), "LoadGen sends 4 queries a second"


def test_server_time_left_follows_the_schedule_and_offline_the_rate() -> None:
    assert _after(5, expected=100, issued=20, done=10).left_s == 20.0
    offline = _after(10, is_timed=False, expected=100, issued=100, done=25, tokens=50)
    assert offline.left_s == pytest.approx(30)
    assert offline.tokens_per_s == pytest.approx(5)
    assert offline.on_course(2) == 8


def test_the_latencies_of_the_limit_that_is_nearer_tell_how_likely_the_run_is_valid() -> None:
    known = {"expected": 838, "allowed": 2, "done": 170, "ttft_limit_ms": 1000.0, "tpot_limit_ms": 100.0}
    slow, far, near = (binned(np.float32([seconds] * 170).tobytes()) for seconds in (0.2, 0.02, 0.095))
    fine, risky = (_after(10, **known, ttft=slow, tpot=each).p_valid for each in (far, near))
    assert fine is not None and risky is not None and risky < 0.65 < 0.9 < fine
    lost = {**known, "expected": 6000, "allowed": 45, "done": 60, "tpot_over": 12}
    early = _after(10, **lost, ttft=slow, tpot=near).p_valid
    assert early is not None and early < 0.1, "one limit is enough for a loss"


def test_the_present_rate_is_of_the_last_seconds() -> None:
    run = RunSoFar()
    for second in range(101):
        tokens = min(second, 50) * 100 + max(0, second - 50) * 10
        run.take(_at(second, replace(STATE, issued=second, done=second, tokens=tokens)))
    (test,) = run.running
    assert test.tokens_per_s == pytest.approx(55)
    assert test.tokens_per_s_now == pytest.approx(10)
    assert len(test.tokens.course) == 60 and set(test.tokens.course) == {100.0, 10.0}


def test_a_test_that_ended_is_kept_and_one_that_runs_again_begins_anew() -> None:
    run = RunSoFar()
    run.take(_at(1, replace(STATE, done=10, ttft={700: 10})))
    run.take(_at(2))
    assert not run.running and run.tests["Server/x"].state.done == 10
    run.take(_at(3, replace(STATE, began_at_s=1002.5, done=1, ttft={700: 1})))
    assert run.running[0].ttft.count == 1


def test_a_warning_stands_once_with_its_length_when_it_is_over() -> None:
    run, begun = RunSoFar(), LiveWarning(kind="pause", at_s=1003.0, text="r: generated nothing")
    run.take(_at(3, warnings=(begun,)))
    run.take(_at(9, warnings=(replace(begun, seconds=6.0, text="r: generated nothing, for 6 s"),)))
    assert [warning.seconds for warning in run.warnings.values()] == [6.0]


def test_replicas_have_the_course_of_their_answers_also_after_they_were_loaded_again() -> None:
    run = RunSoFar()
    for second, answers in enumerate((0, 10, 30, 0, 5)):
        run.take(_at(second, replicas=(ReplicaState(name="replica-0", answers=answers),)))
    assert list(run.replicas["replica-0"].answers.course) == [10.0, 20.0, 5.0]
    assert run.replicas["replica-0"].answers.now == 5.0
