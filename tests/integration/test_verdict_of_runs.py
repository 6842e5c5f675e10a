"""Runs whose figures are not what happened, and runs that are lost before their end; through real LoadGen."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from runs import USER_CONF

from harness_llm.core import EventStatus
from harness_llm.errors import FolderError
from harness_llm.loadgen.late import LateWatch, ServerPlan
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.finished import FinishedRun

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from runs import Run

OFFLINE, SERVER = "Offline/performance", "Server/performance"
SLOW = {"kind": "simulated", "first_token_ms": 20, "per_token_ms": 1, "concurrent": 8}
OVERLOADED = USER_CONF.replace("ttft_latency = 1000", "ttft_latency = 100")


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file: seconds written into it are added to the system clock of every process started from now on."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler, and only C can step the clock that LoadGen reads")
    library, source = tmp_path / "clock_step.so", Path(__file__).with_name("clock_step.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    step = tmp_path / "step"
    step.write_text("0")
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("CLOCK_STEP", str(step))
    return step


def _answered(run: Run, test: str) -> int:
    return int((run.events(test)["status"] == EventStatus.FINISHED).sum())


@pytest.mark.parametrize("early_end", [False, True])
def test_a_clock_that_is_set_back_makes_no_figure_valid(
    new_run: Callable[..., Run], clock: Path, early_end: bool
) -> None:
    conf = USER_CONF.replace("target_qps = 4000", "target_qps = 1000").replace(
        "min_duration = 100\n", "min_duration = 1000\n"
    )
    run = new_run(user_conf=conf, harness={"scenarios": ["Offline"], "engine": SLOW})
    run.start(*([] if early_end else ["--no-early-end"]))
    run.wait_until_asked(OFFLINE)
    run.wait_until(lambda: _answered(run, OFFLINE) > 300)
    clock.write_text("-1.5")
    code, errors = run.wait()
    assert code == 1, errors
    assert "the system clock, by which LoadGen measures, was set by -1.500 s" in run.out
    record = run.json(f"{OFFLINE}/test.json")
    if early_end:
        assert (record["state"], run.json("run.json")["state"]) == ("abandoned", "abandoned")
        return
    log = DetailLog.read(run.output / OFFLINE / DETAIL_LOG)
    assert log.is_valid and record["clock_steps_s"] == pytest.approx([-1.5], abs=0.005)
    measured_ns = log.integer("result_max_latency_ns")
    assert measured_ns is not None
    assert f"LoadGen measured {measured_ns / 1e9:.3f} s and" in " ".join(run.out.split())


def _replay(events: np.ndarray, watch: LateWatch) -> str:
    """Look as a running test does: at the events so far, several times a second."""
    first, last = int(events["issued_ns"][0]), int(events["finished_ns"].max())
    for now in range(first, last + 10**8, 10**8):
        seen = events[events["issued_ns"] <= now].copy()
        seen["status"][seen["finished_ns"] > now] = EventStatus.ISSUED
        seen["first_token_ns"][seen["first_token_ns"] > now] = 0
        if reason := watch.why_lost(seen[watch.settled :], now):
            return reason
    return ""


@pytest.mark.parametrize(
    ("first_token_ms", "concurrent", "is_valid"), [(10, 1024, True), (98, 1024, None), (40, 4, False)]
)
def test_a_test_is_lost_only_where_loadgen_says_invalid(
    new_run: Callable[..., Run], first_token_ms: int, concurrent: int, is_valid: bool | None
) -> None:
    engine = {"kind": "simulated", "first_token_ms": first_token_ms, "concurrent": concurrent}
    run = new_run(user_conf=OVERLOADED, harness={"scenarios": ["Server"], "engine": engine})
    code, errors = run.complete("--no-early-end")
    log = DetailLog.read(run.output / SERVER / DETAIL_LOG)
    assert code == (0 if log.is_valid else 1), errors
    assert is_valid is None or log.is_valid is is_valid
    plan = ServerPlan.of(run.json(f"{SERVER}/test.json")["requested_settings"], 120)
    assert plan is not None and plan.queries == log.integer("generated_query_count") == 600
    reason = _replay(run.events(SERVER), LateWatch(plan))
    assert not (reason and log.is_valid)
    assert is_valid is None or bool(reason) is not is_valid
    asked = run.json("run.json")["preflights"]["Server"]
    assert asked["replicas"] == 1 and len(asked["samples"]) == 3 and asked["differ_in_a_batch"] == [0]


def test_a_lost_run_ends_in_seconds_and_is_never_a_result(new_run: Callable[..., Run]) -> None:
    conf = OVERLOADED.replace("min_duration = 1000", "min_duration = 120000")
    engine = {"kind": "simulated", "first_token_ms": 40, "concurrent": 4}
    run = new_run(user_conf=conf, harness={"scenarios": ["Server"], "engine": engine})
    began = time.monotonic()
    code, errors = run.complete()
    assert code == 1 and time.monotonic() - began < 40, errors
    record = run.json(f"{SERVER}/test.json")
    assert record["state"] == run.json("run.json")["state"] == "abandoned"
    assert "samples are over the TTFT limit of 100 ms, and of the 36," in record["reason"]
    assert record["reason"] in run.json("run.json")["reason"]
    assert "early stopping" in " ".join(run.out.split())
    assert len(run.events(SERVER)) > 300
    with pytest.raises(FolderError, match="abandoned"):
        FinishedRun.read(run.output)
    run.assert_nothing_is_left()
