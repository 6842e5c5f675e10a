from __future__ import annotations

import io
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from harness_llm.core import Mode, Scenario
from harness_llm.system.others import CoreTime, Others
from harness_llm.transport.spec import LoadgenTest
from harness_llm.transport.wire import Progress
from harness_llm.views.live import NoView, PlainView, RichView, describe, make_view
from harness_llm.views.progress import TestProgress

if TYPE_CHECKING:
    from collections.abc import Callable


def _test(name: str, **changes: Any) -> LoadgenTest:
    scenario = Scenario(name.partition("/")[0])
    given = {"target_qps": 10.0, **changes}
    return LoadgenTest(name, scenario, Mode.PERFORMANCE, "mine", "", samples="samples.npz", **given)


def _progress(name: str = "Server/performance") -> TestProgress:
    progress = TestProgress(_test(name, expected=1200, ttft_limit_ms=2000, tpot_limit_ms=200))
    seconds = np.linspace(0.01, 1.0, 100, dtype=np.float32)
    progress.update(Progress(1100, 1000, 64_000, seconds.tobytes(), (seconds / 10).tobytes()))
    progress.started -= 100
    return progress


def test_a_line_says_counts_rate_latencies_against_limits_and_time() -> None:
    line = describe(_progress())
    for part in (
        "Server/performance",
        "1,100 issued, 1,000/1,200 done",
        "tokens/s 640.0 now, 640.0 mean",
        "TTFT p50 500 p99 990 of 2,000 ms, 0 over, 4 allowed",
        "TPOT p50 50 p99 99 of 200 ms, 0 over, 4 allowed",
        "elapsed 1:40",
        "about 0:10 left",
    ):
        assert part in line


def test_a_test_without_limits_or_numbers_shows_none() -> None:
    fresh = TestProgress(_test("Offline/performance"), stage="LoadGen runs")
    line = describe(fresh)
    assert "TTFT" not in line
    assert "Offline/performance: LoadGen runs" in line
    assert "about ? left" in line
    assert "TTFT -" in describe(TestProgress(_test("Server/performance", ttft_limit_ms=1000)))


def test_a_quiet_test_says_that_processes_live() -> None:
    progress = _progress()
    progress.last_change -= 30
    assert "nothing finished for 30 s, processes alive" in describe(progress)


def _lines(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    stage: Callable[[float], str],
    *running: TestProgress,
) -> list[tuple[float, str]]:
    """(second, line) of all that a view prints that is told of `stage(second)` five times a second."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    view = PlainView("unofficial")
    printed = []
    while (gone := now[0] - 1000.0) < seconds:
        view.tick(stage(gone), running)
        printed += [(gone, line) for line in capsys.readouterr().out.splitlines()]
        now[0] += 0.2
    return printed


def test_a_running_test_has_a_line_at_once_and_at_least_every_8_s(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = _progress()
    lines = _lines(capsys, monkeypatch, 60, lambda _: progress.test.name, progress)
    times = [0.0, *(gone for gone, _ in lines), 60.0]
    assert times[1] == 0.0
    assert max(np.diff(times)) < 9
    assert len(lines) < 10


def test_a_long_load_is_told_of_every_8_s_with_the_time_so_far(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = _lines(capsys, monkeypatch, 1200, lambda _: "1 replica: loading the model")
    times = [gone for gone, _ in lines]
    assert times[0] == pytest.approx(2, abs=0.3)
    assert max(np.diff(times)) < 9
    assert len(times) < 160
    assert "1 replica: loading the model, 0:18 so far" in lines[2][1]


def test_a_new_stage_begins_anew_and_one_of_a_moment_is_not_worth_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stage(gone: float) -> str:
        return "starting" if gone < 100 else "between tests" if gone < 101 else "loading the model"

    lines = _lines(capsys, monkeypatch, 104, stage)
    assert not [line for _, line in lines if "between tests" in line]
    assert [line for gone, line in lines if gone > 101][0].endswith("loading the model, 0:02 so far")


def test_a_listener_that_is_gone_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        view = PlainView("")
        with pytest.raises(BrokenPipeError):
            os.write(write, b"x")
        view.say("to nobody")
        view.tick("x", [_progress()])
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)


def test_every_line_with_a_number_has_the_marker(capsys: pytest.CaptureFixture[str]) -> None:
    PlainView("simulated, not a result").tick("x", [_progress()])
    assert capsys.readouterr().out.rstrip().endswith("[simulated, not a result]")
    out = io.StringIO()
    view = RichView(Console(file=out, force_terminal=True, width=100), "unofficial")
    view._drawn = 0.0
    view.say("a line that stays")
    view.tick("x", [_progress()])
    time.sleep(0.4)
    view.close()
    assert "unofficial" in out.getvalue()
    assert "a line that stays" in out.getvalue()


def test_tests_that_run_at_once_have_a_line_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = [_progress(), _progress("Interactive/performance")]
    lines = [line for _, line in _lines(capsys, monkeypatch, 30, lambda _: "both", *running)]
    assert len(lines) == 8
    for name in ("Server/performance", "Interactive/performance"):
        assert sum(name in line for line in lines) == 4
    out = io.StringIO()
    view = RichView(Console(file=out, force_terminal=True, width=100), "")
    view.tick("both", running)
    time.sleep(0.4)
    view.close()
    assert "Server/performance" in out.getvalue() and "Interactive/performance" in out.getvalue()


def test_json_on_stdout_sends_the_view_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    make_view("", quiet=True).say("to people")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "to people" in captured.err


def test_what_others_hold_is_said_where_it_matters() -> None:
    progress = _progress()
    clock, held = [0.0], [0.0]
    progress.others = Others(lambda: CoreTime(held[0], 0.0), lambda: clock[0])
    progress.others.cores = 2
    assert "others" not in describe(progress)
    for busy, said in ((0.1, False), (1.4, True)):
        clock[0] += 5
        held[0] += 5 * busy
        progress.others.look()
        assert ("others use 1.4 of 2 cores" in describe(progress)) is said


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
        view.tick("stage", [_progress()])
    finally:
        view.close()
    assert kind is not NoView or not out.getvalue()
    assert kind is RichView or "\x1b" not in out.getvalue()
