from __future__ import annotations

import io
import time

import numpy as np
import pytest
from rich.console import Console

from harness_llm.supervise.progress import TestProgress
from harness_llm.supervise.view import PlainView, RichView, describe, make_view
from harness_llm.transport.wire import Progress


def _progress(limit: float | None = 2.0) -> TestProgress:
    progress = TestProgress("Server/performance", 1200, 10.0, limit, limit and limit / 10)
    seconds = np.linspace(0.01, 1.0, 100, dtype=np.float32)
    progress.update(Progress(1100, 1000, 64_000, seconds.tobytes(), (seconds / 10).tobytes()))
    progress.started -= 100
    return progress


def test_a_line_says_counts_rate_latencies_against_limits_and_time() -> None:
    line = describe(_progress())
    for part in (
        "Server/performance",
        "1,100 issued, 1,000/1,200 done",
        "tokens/s",
        "TTFT p50 500 p99 990 of 2,000 ms",
        "TPOT p50 50 p99 99 of 200 ms",
        "1:40 gone",
        "about 0:10 left",
    ):
        assert part in line


def test_a_test_without_limits_or_numbers_shows_none() -> None:
    fresh = TestProgress("Offline/performance", None, None, None, None, stage="LoadGen runs")
    line = describe(fresh)
    assert "TTFT" not in line
    assert "Offline/performance: LoadGen runs" in line
    assert "about ? left" in line
    assert "TTFT -" in describe(TestProgress("Server/performance", None, None, 1.0, 1.0))


def test_a_quiet_test_says_that_processes_live() -> None:
    progress = _progress()
    progress.last_change -= 30
    assert "nothing finished for 30 s, processes alive" in describe(progress)


def test_plain_lines_come_on_news_and_at_least_every_8_s(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    view = PlainView("unofficial")
    view.say("begins")
    times = []
    for _ in range(200):
        now[0] += 0.2
        view.tick("loading the model", None)
        if capsys.readouterr().out:
            times.append(now[0])
    assert times[0] == pytest.approx(1000.2)
    assert max(np.diff([1000.0, *times, now[0]])) < 9
    assert len(times) < 7


def test_every_line_with_a_number_has_the_marker(capsys: pytest.CaptureFixture[str]) -> None:
    PlainView("simulated, not a result").tick("x", _progress())
    assert capsys.readouterr().out.rstrip().endswith("[simulated, not a result]")
    out = io.StringIO()
    view = RichView(Console(file=out, force_terminal=True, width=100), "unofficial")
    view._drawn = 0.0
    view.say("a line that stays")
    view.tick("x", _progress())
    time.sleep(0.4)
    view.close()
    assert "unofficial" in out.getvalue()
    assert "a line that stays" in out.getvalue()


def test_json_on_stdout_sends_the_view_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    make_view("", quiet=True).say("to people")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "to people" in captured.err
