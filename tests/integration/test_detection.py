"""A replica that does not go on, a folder that goes away, a disk that fills: named while it happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from runs import USER_CONF

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runs import Run

# An hour of test, of which only seconds are waited for.
LONG = USER_CONF.replace("min_duration = 1000", "min_duration = 3600000")
LONG = LONG.replace("min_duration = 100\n", "min_duration = 3600000\n").replace("= 300\n", "= 100\n")
LONG = LONG.replace("target_qps = 4000", "target_qps = 200")
ENGINE = {"kind": "simulated", "first_token_ms": 20, "per_token_ms": 1}
REPLICA = "harness_llm.replica.process"
STALL_S = 4


@pytest.mark.parametrize(("scenario", "replicas"), [("Server", 8), ("Offline", 2)])
def test_one_hung_engine_is_named_while_loadgen_issues_and_the_others_answer(
    new_run: Callable[..., Run], scenario: str, replicas: int
) -> None:
    number = replicas - 1
    engine = {**ENGINE, "concurrent": 8, "hang_after": 60, "hang_replica": number}
    harness = {"scenarios": [scenario], "engine": engine, "replicas": replicas, "stall_timeout_s": STALL_S}
    run = new_run(user_conf=LONG, harness=harness)
    run.start()
    run.wait_until_asked(f"{scenario}/performance", 50 * replicas)
    started = time.monotonic()
    code, errors = run.wait(40)
    assert code == 3, errors
    assert (
        f"replica-{number} has generated nothing for" in errors and "harness_config.stall_timeout_s" in errors
    )
    assert run.json("run.json")["state"] == run.json(f"{scenario}/performance/test.json")["state"] == "broken"
    # It hangs at its 60th request; the sign needs the patience, then 5 s at most.
    assert time.monotonic() - started < STALL_S + 5
    run.assert_nothing_is_left()


def test_a_pause_of_every_process_is_nobodys_silence(new_run: Callable[..., Run]) -> None:
    short = USER_CONF.replace("min_duration = 1000", "min_duration = 3000")
    harness = {"scenarios": ["Server"], "engine": ENGINE, "silence_timeout_s": 2, "replicas": 2}
    # The pause makes answers late; where LoadGen would still call the run VALID is not asked here.
    run = new_run(user_conf=short, harness={**harness, "stall_timeout_s": 2, "early_end": False})
    run.start()
    run.wait_until_asked("Server/performance", 20)
    everybody = run.processes()
    assert len(everybody) == 4
    for process in everybody:
        process.send_signal(signal.SIGSTOP)
    time.sleep(6)
    for process in everybody:
        process.send_signal(signal.SIGCONT)
    code, errors = run.wait(60)
    assert code in (0, 1), errors  # the pause may cost the verdict, never the run
    assert run.json("run.json")["state"] == "complete"


@pytest.mark.parametrize("way", ["deleted", "renamed"])
def test_a_run_folder_that_goes_away_is_said_at_once(new_run: Callable[..., Run], way: str) -> None:
    run = new_run(user_conf=LONG, harness={"scenarios": ["Server"], "engine": ENGINE})
    run.start()
    run.wait_until_asked("Server/performance")
    started = time.monotonic()
    if way == "deleted":
        shutil.rmtree(run.output)
    else:
        run.output.rename(run.output.with_name("elsewhere"))
    code, errors = run.wait(15)
    assert time.monotonic() - started < 8
    assert code == 3, errors
    assert "was deleted, renamed or replaced" in errors
    assert "Traceback" not in errors
    run.assert_nothing_is_left()


@pytest.fixture
def small_disk(tmp_path: Path) -> object:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_is_said_at_once(new_run: Callable[..., Run], small_disk: Path) -> None:
    run = new_run(user_conf=LONG, harness={"scenarios": ["Server"], "engine": ENGINE})
    output = small_disk / "run"
    run.start("--output", str(output))
    run.wait_until(lambda: (output / "Server/performance/events.npy").exists())
    started = time.monotonic()
    with (small_disk / "filler").open("wb") as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(bytes(1 << 20))
            filler.flush()
    code, errors = run.wait(15)
    assert time.monotonic() - started < 8
    assert code == 3, errors
    assert "disk is full" in errors
    assert "Traceback" not in errors
    run.assert_nothing_is_left()


def test_too_few_open_files_are_said_before_anything_is_started(new_run: Callable[..., Run]) -> None:
    run = new_run(harness={"scenarios": ["Server"], "engine": ENGINE, "replicas": 16})
    command = " ".join(f"'{part}'" for part in run.command)
    done = subprocess.run(
        ["bash", "-c", f"ulimit -n 128; exec {command}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(__import__("sys").path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "may open 128 files, 16 replicas need 192" in done.stderr and "ulimit -n" in done.stderr
