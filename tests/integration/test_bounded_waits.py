"""Nothing is waited for without end: an answer that never comes, a score that outlives the run's end."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from harness_llm.config.load import load_config
from harness_llm.errors import ReplicaLost
from harness_llm.results.run_folder import RunFolder
from harness_llm.run import execute as execute_module
from harness_llm.run.execute import execute
from harness_llm.run.prepare import prepare
from harness_llm.run.score import ScoreResult
from harness_llm.views.live import PlainView

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runs import Run

    from harness_llm.run.prepare import Prepared


def test_an_answer_that_never_comes_ends_the_run_though_every_process_lives(
    new_run: Callable[..., Run],
) -> None:
    hangs = {"kind": "simulated", "hang_after": 1}  # the first answer has a patience of its own
    run = new_run(harness={"scenarios": ["Offline"], "engine": hangs, "stall_timeout_s": 3})
    started = time.monotonic()
    code, errors = run.complete(seconds=30)
    assert time.monotonic() - started < 20
    assert code == 3, errors
    reason = "neither a token nor an answer came within 3 s"
    assert reason in errors and "harness_config.stall_timeout_s" in errors
    assert run.json("run.json")["state"] == "broken" and reason in run.json("run.json")["reason"]
    assert not (run.output / "Offline").exists(), "said before LoadGen begins"
    run.assert_nothing_is_left()


def _prepared(folder: Path) -> Prepared:
    """Two tests on one replica."""
    (folder / "user.conf").write_text("mine.Offline.target_qps = 100\nmine.Offline.min_duration = 100\n")
    (folder / "run.yaml").write_text(f"""
llm_config: {{}}
harness_config: {{benchmark: mine, scenario: Offline, engine: simulated,
  dataset: {{kind: synthetic, shape: 20:8:4}}, max_tokens: 8, user_conf: {folder / "user.conf"}}}
""")
    return prepare([load_config(folder / "run.yaml")], ("performance", "accuracy"))


def test_a_replica_lost_while_a_test_is_scored_ends_the_run_before_the_score_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = _prepared(tmp_path)
    scored = threading.Event()

    def score(_: Path) -> ScoreResult:
        children = psutil.Process(os.getpid()).children()
        next(c for c in children if "harness_llm.replica.process" in c.cmdline()).send_signal(signal.SIGKILL)
        scored.wait(60)
        return ScoreResult("")

    monkeypatch.setattr(execute_module, "score", score)

    started = time.monotonic()
    try:
        with pytest.raises(ReplicaLost, match="SIGKILL"):
            execute(prepared, tmp_path / "run", PlainView(""), resume=False)
        assert time.monotonic() - started < 30
        assert not scored.is_set()
    finally:
        scored.set()
    folder = RunFolder(tmp_path / "run")
    record = folder.record()
    assert record is not None and record.state == "broken"
    assert not folder.test("Offline/performance").is_followed_up


def test_the_last_score_is_made_without_an_engine_that_could_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = _prepared(tmp_path)
    engines: dict[str, int] = {}

    def score(test: Path) -> ScoreResult:
        children = psutil.Process(os.getpid()).children()
        engines[test.name] = sum("harness_llm.replica.process" in child.cmdline() for child in children)
        return ScoreResult(test.name)

    monkeypatch.setattr(execute_module, "score", score)
    execute(prepared, tmp_path / "run", PlainView(""), resume=False)
    assert engines == {"performance": 1, "accuracy": 0}
