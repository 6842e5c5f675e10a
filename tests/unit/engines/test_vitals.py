from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness_llm.engines.vitals import StepClock
from harness_llm.engines.vllm import VllmEngine
from harness_llm.engines.vllm_stats import SchedulerEar


class _Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _steps(*seconds: float, asked: tuple[int, ...] = ()) -> list[float]:
    """How long the pauses were that a clock found in these steps."""
    time = _Time()
    clock = StepClock(time)
    clock.asked(was_idle=True)
    for number, step in enumerate(seconds):
        if number in asked:
            clock.asked(was_idle=False)
        time.now += step
        clock.step(8)
    assert clock.tokens == 8 * len(seconds)
    return [round(pause.seconds, 3) for pause in clock.pauses]


USUAL = [0.04] * 60


@pytest.mark.parametrize(
    ("steps", "asked", "found"),
    [
        ([*USUAL, 0.25, *USUAL], (), [0.25]),
        ([*USUAL, 0.19, *USUAL], (), []),
        ([*USUAL, 0.25, *USUAL], (60,), []),  # a prompt came with it
        ([*USUAL, 1.5, *USUAL], (60,), [1.5]),
        (([0.0002] * 300 + [0.25]) * 40, (), []),  # a server's tokens come together, at each of its steps
        ([*([0.0002] * 300 + [0.25]) * 40, 1.4, *([0.0002] * 300 + [0.25]) * 20], (), [1.4]),
        ([*USUAL, 0.5, *USUAL, 2.0, *USUAL], (), [0.5, 2.0]),
        ([*USUAL, *[0.25] * 40], (), []),  # a fuller batch is no pause
        ([0.25] * 60, (), []),
        ([5.0], (), []),
    ],
)
def test_a_pause_is_a_step_far_longer_than_those_around_it(
    steps: list[float], asked: tuple[int, ...], found: list[float]
) -> None:
    assert _steps(*steps, asked=asked) == found


def test_a_long_step_among_many_such_is_no_pause() -> None:
    series = ([0.04] * 4 + [0.4]) * 20
    found = _steps(*USUAL, *series, *USUAL)
    assert found == []


def test_time_without_work_is_no_pause_and_a_first_step_counts_from_what_was_asked() -> None:
    time = _Time()
    clock = StepClock(time)
    for _ in range(3):
        time.now += 60
        clock.asked(was_idle=True)
        for _ in range(40):
            time.now += 0.04
            clock.step(1)
    assert clock.pauses == ()
    time.now += 60
    clock.asked(was_idle=True)
    time.now += 1.2
    clock.step(1)
    assert clock.pauses == ()
    for _ in range(60):
        time.now += 0.04
        clock.step(1)
    (pause,) = clock.pauses
    assert pause.seconds == pytest.approx(1.2) and pause.ended_s == pytest.approx(time.now - 2.4)


class _Processor:
    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def process_outputs(
        self, outputs: list[int], at: float | None = None, statistics: Any = None, **options: Any
    ) -> str:
        """As vLLM's own takes its arguments (vllm/v1/engine/output_processor.py, 0.25 to 0.32)."""
        self.seen.append((outputs, at, statistics, options))
        return "processed"


def test_vllms_steps_are_counted_once_and_no_statistics_are_made_of_tokens() -> None:
    engine, processor = VllmEngine({}), _Processor()
    engine._llm = SimpleNamespace(output_processor=processor)
    assert engine.generated() is None
    engine._count_steps()
    for stamp, outputs in ((1.0, [1, 2]), (1.0, [3]), (2.0, [1])):
        said = processor.process_outputs(outputs, stamp, "statistics", weight_version=None)
        assert said == "processed"
    assert engine.generated() == 4
    assert processor.seen[0] == ([1, 2], 1.0, None, {"weight_version": None})


def test_vllms_scheduler_is_heard_alone() -> None:
    class PrometheusStatLogger:
        """By the name of vLLM's own."""

    ear = SchedulerEar()
    manager = SimpleNamespace(stat_loggers=[ear, PrometheusStatLogger()])
    ear.hear_alone(SimpleNamespace(logger_manager=manager))
    assert manager.stat_loggers == [ear]
    assert ear.kv_cache is None and ear.metrics == {}
    for engine, usage in ((0, 0.25), (1, 0.5)):
        stats = SimpleNamespace(num_running_reqs=30, num_waiting_reqs=2, kv_cache_usage=usage)
        ear.factory(None, engine).record(stats, None, mm_cache_stats=None, engine_idx=engine)
    ear.record(None, None, engine_idx=1)
    assert ear.kv_cache == 0.5
    assert ear.metrics == {
        "vllm:num_requests_running": 60.0, "vllm:num_requests_waiting": 4.0, "vllm:kv_cache_usage_perc": 0.5,
    }  # fmt: skip
