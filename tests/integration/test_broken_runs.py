"""What ends a run early: killed and silent processes, failing samples, a busy port; and going on after it."""

from __future__ import annotations

import signal
import socket
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from runs import USER_CONF

from harness_llm.core import EventStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from runs import Run

LONG = USER_CONF.replace("min_duration = 1000", "min_duration = 120000").replace(
    "target_qps = 300", "target_qps = 100"
)
SERVER = {
    "scenarios": ["Server"],
    "engine": {"kind": "simulated", "first_token_ms": 20, "per_token_ms": 1},
    "silence_timeout_s": 3,
}
TEST = "Server/performance"
REPLICA, LOADGEN = "harness_llm.replica.process", "harness_llm.loadgen.process"
LIMIT_S = 10.0


@pytest.fixture
def running(new_run: Callable[..., Run]) -> Run:
    """A Server run with some queries answered and far from its end."""
    return _running(new_run, 1)


def _running(new_run: Callable[..., Run], replicas: int) -> Run:
    run = new_run(user_conf=LONG, harness={**SERVER, "replicas": replicas})
    run.start()
    run.wait_until_asked(TEST)
    assert len(run.processes(REPLICA)) == replicas
    assert len(run.processes(LOADGEN)) == 1
    return run


def _assert_events_hold(run: Run, test: str = TEST) -> None:
    events = run.events(test)
    done = events["status"] == EventStatus.FINISHED
    assert done.sum() >= 5
    assert (events["tokens"][done] >= 2).all()
    assert not events["finished_ns"][~done].any()
    assert (np.diff(events["issued_ns"]) >= 0).all()


def _assert_broken(run: Run, errors: str, code: int, *named: str) -> None:
    assert code == 3, errors
    for where in (errors, run.json("run.json")["reason"], run.json(f"{TEST}/test.json")["reason"]):
        for part in named:
            assert part in where
    assert run.json("run.json")["state"] == run.json(f"{TEST}/test.json")["state"] == "broken"
    assert "Traceback" not in errors
    run.assert_nothing_is_left()
    _assert_events_hold(run)


@pytest.mark.parametrize(
    ("victim", "replicas", "number", "named"),
    [
        (REPLICA, 2, signal.SIGKILL, "was killed by SIGKILL"),
        (LOADGEN, 1, signal.SIGKILL, "was killed by SIGKILL"),
        (REPLICA, 2, signal.SIGSTOP, "silent for 3."),
        (LOADGEN, 1, signal.SIGSTOP, "silent for 3."),
    ],
    ids=["kill replica", "kill loadgen", "stop replica", "stop loadgen"],
)
def test_a_dead_or_silent_child_ends_the_run_within_10_s(
    new_run: Callable[..., Run], victim: str, replicas: int, number: signal.Signals, named: str
) -> None:
    run = _running(new_run, replicas)
    target = run.processes(victim)[0]
    name = (
        "loadgen-Server/performance"
        if victim == LOADGEN
        else f"replica-{target.cmdline()[-1].split('/')[-2]}"
    )
    started = time.monotonic()
    target.send_signal(number)
    code, errors = run.wait(LIMIT_S)
    assert time.monotonic() - started < LIMIT_S
    _assert_broken(run, errors, code, name, named)


def test_the_end_of_the_supervisor_is_the_end_of_all(running: Run) -> None:
    run = running
    assert run.process is not None
    run.process.kill()
    run.assert_nothing_is_left(LIMIT_S)
    assert run.json("run.json")["state"] == "running"
    _assert_events_hold(run)


def test_a_supervisor_killed_while_its_children_start_leaves_none(new_run: Callable[..., Run]) -> None:
    run = new_run(harness=SERVER)
    run.start()
    run.wait_until(lambda: bool(run.processes(REPLICA)))
    assert run.process is not None
    run.process.kill()
    run.assert_nothing_is_left(LIMIT_S)


def test_an_interrupted_run_goes_on_where_it_was(new_run: Callable[..., Run]) -> None:
    quick = USER_CONF.replace("min_duration = 1000", "min_duration = 3000")
    quick = quick.replace("min_duration = 100\n", "min_duration = 10\n").replace("= 4000\n", "= 40000\n")
    run = new_run(user_conf=quick, harness={**SERVER, "scenarios": ["Offline", "Server"]})
    run.start()
    run.wait_until_asked(TEST)
    kept = run.events("Offline/performance").copy()
    assert run.process is not None
    run.process.send_signal(signal.SIGINT)
    code, errors = run.wait(LIMIT_S)
    assert code == 3, errors
    assert "--resume" in errors
    run.assert_nothing_is_left()
    assert run.json("run.json")["state"] == "interrupted"
    assert run.json(f"{TEST}/test.json")["state"] == "broken"

    code, errors = run.complete()
    assert code == 2, errors
    assert "--resume" in errors

    run.user_conf = quick + "# other\n"
    code, errors = run.complete("--resume")
    assert code == 2, errors
    assert "the run in it is another one:\n  user.conf: was" in errors

    run.user_conf = quick
    code, errors = run.complete("--resume")
    assert code == 0, errors + run.out
    assert run.json("run.json")["state"] == "complete"
    assert len(run.json("run.json")["resumed_utc"]) == 1
    assert (run.events("Offline/performance") == kept).all(), "a complete test was run again"
    assert (run.events(TEST)["status"] == EventStatus.FINISHED).all()
    _assert_events_hold(run, f"{TEST}.broken-1")


def test_a_second_run_in_a_folder_in_use_is_refused_and_sigterm_ends_the_first(
    running: Run, new_run: Callable[..., Run]
) -> None:
    other = new_run(user_conf=LONG, harness=dict(running.harness))
    other.start("--output", str(running.output), "--resume")
    code, errors = other.wait(20)
    assert code == 2, errors
    assert "another run is using this folder" in errors
    assert len(running.processes(REPLICA)) == 1

    assert running.process is not None
    running.process.terminate()
    code, errors = running.wait(LIMIT_S)
    assert code == 3, errors
    running.assert_nothing_is_left()
    assert running.json("run.json")["state"] == "interrupted"


def test_a_failing_sample_ends_the_run_by_its_reason(new_run: Callable[..., Run]) -> None:
    failing = {"kind": "simulated", "first_token_ms": 5, "fail_every": 60}
    run = new_run(user_conf=LONG, harness={**SERVER, "engine": failing})
    code, errors = run.complete()
    _assert_broken(
        run, errors, code, "replica 0: the engine failed on sample", "simulated failure of request 60"
    )
    assert (run.events(TEST)["status"] == EventStatus.FAILED).sum() == 1


@pytest.mark.parametrize("offset", [0, 1], ids=["control", "replica"])
def test_a_port_in_use_is_named(new_run: Callable[..., Run], offset: int) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        run = new_run(harness={**SERVER, "interface": "127.0.0.1", "port": port - offset})
        started = time.monotonic()
        code, errors = run.complete()
    assert time.monotonic() - started < LIMIT_S
    assert code == 3, errors
    assert f"127.0.0.1:{port}" in errors
    assert "in use" in errors
    assert "harness_config.port" in errors
    assert run.json("run.json")["state"] == "broken"
    run.assert_nothing_is_left()


def test_tcp_ports_serve_groups_that_load_the_engine_again(new_run: Callable[..., Run]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
    run = new_run(
        user_conf=USER_CONF.replace("300", "3000"),
        harness={"scenarios": ["Offline"], "interface": "lo", "port": port},
    )
    other = new_run(
        user_conf=run.user_conf, harness={**run.harness, "scenarios": ["Server"]}, llm={"other": 1}
    )
    assert other.command
    text = (other.folder / "Server.yaml").read_text().replace(str(other.folder), str(run.folder))
    (run.folder / "Server.yaml").write_text(text)
    code, errors = run.complete("--config", str(run.folder / "Server.yaml"))
    assert code in (0, 1), errors  # VALID or not: instant answers are over before min_duration
    assert run.json("run.json")["state"] == "complete"
    assert run.out.count("ready after") == 2
    run.assert_nothing_is_left()
