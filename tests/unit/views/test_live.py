from __future__ import annotations

import io
import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace
from rich.console import Console

from harness_llm.results.latency_bins import binned
from harness_llm.results.live_records import HostState, LiveRecord, LiveWarning, TestState
from harness_llm.views import live
from harness_llm.views.live import NoView, PlainView, RichView, make_view
from harness_llm.views.live_words import describe
from harness_llm.views.so_far import RunSoFar

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = np.linspace(0.01, 1.0, 100, dtype=np.float32)


def _state(name: str = "Server/performance", **changes: Any) -> TestState:
    state = TestState(
        name=name, began_at_s=0.0, is_timed=True, target_qps=10.0, expected=1200, issued=1100, done=1000,
        tokens=64_000, ttft=binned(SECONDS.tobytes()), tpot=binned((SECONDS / 10).tobytes()),
        ttft_limit_ms=2000, tpot_limit_ms=200, allowed=4, changed_at_s=100.0,
    )  # fmt: skip
    return replace(state, **changes)


def _record(*tests: TestState, **changes: Any) -> LiveRecord:
    return replace(LiveRecord(at_s=100.0, began_at_s=0.0, stage="x", tests=tests), **changes)


def _told(state: TestState, **changes: Any) -> str:
    run = RunSoFar()
    run.take(_record(state, **changes))
    return describe(run.running[0], run)


def test_a_line_says_counts_rate_latencies_against_limits_and_time() -> None:
    line = _told(_state())
    for part in (
        "Server/performance",
        "1,100 issued, 1,000 of 1,200 done",
        "tokens/s 640.0 now, 640.0 mean",
        "TTFT p50 499 p99 991 of 2,000 ms, 0 over, 4 allowed",
        "TPOT p50 50 p99 99 of 200 ms, 0 over, 4 allowed",
        "elapsed 1:40",
        "about 0:10 left",
    ):
        assert part in line, line


def test_samples_over_a_limit_say_where_they_lead() -> None:
    assert "991 of 2,000 ms, 3 over, 4 allowed, on course for 4;" in _told(_state(ttft_over=3))


def test_a_test_without_limits_or_numbers_shows_none() -> None:
    fresh = TestState(name="Offline/performance", began_at_s=90.0, stage="LoadGen runs", changed_at_s=90.0)
    line = _told(fresh)
    assert "TTFT" not in line
    assert "Offline/performance: LoadGen runs" in line
    assert "about ? left" in line
    assert "TTFT -" in _told(replace(fresh, ttft_limit_ms=1000))


def test_a_quiet_test_says_that_processes_live() -> None:
    assert "nothing finished for 30 s, processes alive" in _told(_state(changed_at_s=70.0))


def test_what_others_hold_is_said_where_it_matters() -> None:
    for cores, said in ((None, False), (0.1, False), (1.4, True)):
        line = _told(_state(), host=HostState(cores=2, other_cores=cores))
        assert ("others use 1.4 of 2 cores" in line) is said


def _lines(
    capsys: pytest.CaptureFixture[str],
    seconds: float,
    stage: Callable[[float], str],
    *running: TestState,
) -> list[tuple[float, str]]:
    """(second, line) of all that a view prints that gets a record of `stage(second)` once a second."""
    view = PlainView("unofficial")
    printed = []
    for second in range(int(seconds)):
        tests = [replace(state, ttft={}, changed_at_s=float(second)) for state in running]
        view.tick(_record(*tests, at_s=float(second), stage=stage(second)))
        printed += [(float(second), line) for line in capsys.readouterr().out.splitlines()]
    return printed


def test_a_running_test_has_a_line_at_once_and_at_least_every_8_s(capsys: pytest.CaptureFixture[str]) -> None:
    state = _state()
    lines = _lines(capsys, 60, lambda _: state.name, state)
    times = [0.0, *(gone for gone, _ in lines), 60.0]
    assert times[1] == 0.0
    assert max(np.diff(times)) < 9
    assert len(lines) < 10


def test_a_long_load_is_told_of_every_8_s_with_the_time_so_far(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _lines(capsys, 1200, lambda _: "1 replica: loading the model")
    times = [gone for gone, _ in lines]
    assert times[0] == pytest.approx(2, abs=0.3)
    assert max(np.diff(times)) < 9
    assert len(times) < 160
    assert "1 replica: loading the model, 0:18 so far" in lines[2][1]


def test_all_lines_have_one_clock_whichever_fleet_they_are_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([100.0, *[160.0] * 9])
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: next(times)))
    view = PlainView("")
    view.say("arguments: max_num_seqs=8")
    view.tick(_record(_state(), at_s=160.0, began_at_s=150.0))
    assert [line[:8] for line in capsys.readouterr().out.splitlines()] == ["[  1:00]"] * 2


def test_a_new_stage_begins_anew_and_one_of_a_moment_is_not_worth_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stage(gone: float) -> str:
        return "starting" if gone < 100 else "between tests" if gone < 101 else "loading the model"

    lines = _lines(capsys, 104, stage)
    assert not [line for _, line in lines if "between tests" in line]
    assert [line for gone, line in lines if gone > 101][0].endswith("loading the model, 0:02 so far")


def test_a_warning_is_a_line_when_it_begins_and_when_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView("")
    begun = LiveWarning(kind="host", at_s=90.0, text="host: others use 1.4 of 2 cores")
    for warning in (begun, replace(begun, text=begun.text + ", for 12 s", seconds=12.0)):
        view.tick(_record(warnings=(warning,)))
    lines = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert [line.partition("] ")[2] for line in lines] == [
        "warning: host: others use 1.4 of 2 cores",
        "warning: host: others use 1.4 of 2 cores, for 12 s",
    ]


def test_a_listener_that_is_gone_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        view = PlainView("")
        with pytest.raises(BrokenPipeError):
            os.write(write, b"x")
        view.say("to nobody")
        view.tick(_record(_state()))
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)


def test_every_line_with_a_number_has_the_marker(capsys: pytest.CaptureFixture[str]) -> None:
    PlainView("simulated, not a result").tick(_record(_state()))
    assert capsys.readouterr().out.rstrip().endswith("[simulated, not a result]")
    out = io.StringIO()
    view = RichView(Console(file=out, force_terminal=True, width=100), "unofficial")
    view.say("a line that stays")
    view.tick(_record(_state()))
    view.close()
    assert "unofficial" in out.getvalue()
    assert "a line that stays" in out.getvalue()


def test_tests_that_run_at_once_have_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    running = [_state(), _state("Interactive/performance")]
    lines = [line for _, line in _lines(capsys, 30, lambda _: "both", *running)]
    assert len(lines) == 8
    for name in ("Server/performance", "Interactive/performance"):
        assert sum(name in line for line in lines) == 4
    out = io.StringIO()
    view = RichView(Console(file=out, force_terminal=True, width=100, height=30), "")
    view.tick(_record(*running))
    view.close()
    assert "Server/performance" in out.getvalue() and "Interactive/performance" in out.getvalue()


def test_json_on_stdout_sends_the_view_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    make_view("", quiet=True).say("to people")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "to people" in captured.err


@pytest.mark.parametrize(
    ("style", "environment", "columns", "kind"),
    [
        ("auto", {}, 100, RichView),
        ("auto", {"NO_COLOR": "1"}, 100, PlainView),
        ("auto", {"TERM": "dumb"}, 100, PlainView),
        ("auto", {}, 40, PlainView),
        ("rich", {"NO_COLOR": "1"}, 100, RichView),
        ("plain", {}, 100, PlainView),
        ("none", {}, 100, NoView),
    ],
)
def test_the_view_suits_the_terminal_or_is_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, style: str, environment: dict[str, str], columns: int, kind: type
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(out, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", out)
    for name, value in ({"TERM": "xterm", "NO_COLOR": "", "COLUMNS": str(columns)} | environment).items():
        monkeypatch.setenv(name, value)
    view = make_view("", style=style)
    try:
        assert type(view) is kind
        view.say("x")
        view.tick(_record(_state()))
    finally:
        view.close()
    assert kind is not NoView or not out.getvalue()
    assert kind is RichView or "\x1b" not in out.getvalue()
