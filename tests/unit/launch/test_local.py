from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from harness_llm.launch import launcher
from harness_llm.launch.cause import log_tail
from harness_llm.launch.launcher import end_all
from harness_llm.launch.local import LocalHandle, LocalLauncher
from harness_llm.launch.role import Role
from harness_llm.transport.control import PARENT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PARENT = """
import signal, subprocess, sys, time
{prelude}
grandchild = subprocess.Popen([sys.executable, "-c", "import signal, time; {prelude}; time.sleep(60)"])
print(grandchild.pid, flush=True)
{then}
"""
_ROLE = Role("plain", "json.tool")
_STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def _child(
    tmp_path: Path, prelude: str = "pass", then: str = "time.sleep(60)"
) -> tuple[LocalHandle, psutil.Process]:
    log = tmp_path / "log.txt"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _PARENT.format(prelude=prelude, then=then)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 10
    while not log.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return LocalHandle("c", _ROLE, log, process), psutil.Process(int(log.read_text()))


def _is_gone(process: psutil.Process) -> bool:
    try:
        process.wait(3)
    except psutil.TimeoutExpired:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


def _unless_named(name: str) -> Callable[[LocalHandle, signal.Signals], None]:
    """A `signal` that does not reach the child called `name`, as if it waited for a driver."""
    real = LocalHandle.signal
    return lambda handle, number: None if handle.name == name else real(handle, number)


def test_end_all_ends_child_and_grandchild(tmp_path: Path) -> None:
    child, grandchild = _child(tmp_path)
    started = time.monotonic()
    end_all([child], 1.5)
    assert child.exit_reason() == "was killed by SIGTERM"
    assert time.monotonic() - started < 2.9  # the second grace ends as soon as the child does
    assert _is_gone(grandchild)


def test_end_all_ends_what_ignores_sigterm_and_what_is_stopped(tmp_path: Path) -> None:
    child, grandchild = _child(tmp_path, prelude=_STUBBORN)
    child.signal(signal.SIGSTOP)
    end_all([child], 0.2)
    assert child.exit_reason() == "was killed by SIGKILL"
    assert _is_gone(grandchild)


def test_end_all_ends_the_grandchild_of_a_child_that_is_gone(tmp_path: Path) -> None:
    child, grandchild = _child(tmp_path, then="sys.exit(7)")
    child.process.wait(10)
    assert grandchild.is_running()
    end_all([child], 1)
    assert child.exit_reason() == "ended with exit code 7"
    assert _is_gone(grandchild)


def test_a_child_that_the_kernel_holds_is_named_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    child, _ = _child(tmp_path)
    child = replace(child, name="held")
    other, _ = _child(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(launcher, "_KILL_S", 0.2)
        patch.setattr(LocalHandle, "signal", _unless_named("held"))
        end_all([child, other], 0)
    assert child.process.poll() is None
    assert other.exit_reason() == "was killed by SIGTERM"
    assert f"held (process {child.process.pid}) is stuck in the kernel" in caplog.text
    end_all([child], 0)


def test_end_all_of_nothing_is_nothing() -> None:
    end_all([], 5)


def test_a_child_leads_its_group_knows_its_parent_and_logs(tmp_path: Path) -> None:
    spec = tmp_path / "spec"
    os.mkfifo(spec)
    environment = {"EXTRA": "here", PARENT_VARIABLE: "1"}
    # a module of the standard library that waits for what its argument holds, complains of it and ends with 1
    ours, others = LocalLauncher(), LocalLauncher()
    child = ours.start(_ROLE, "c", spec, tmp_path / "log.txt", environment)
    assert (child.name, child.role, child.process_id) == ("c", _ROLE, child.process.pid)
    process = psutil.Process(child.process.pid)
    while not (variables := process.environ()):  # Linux shows none for a moment after exec
        time.sleep(0.001)
    assert os.getpgid(child.process.pid) == child.process.pid
    assert child.process.pid in others.strangers(_ROLE)
    assert child.process.pid not in others.strangers(Role("plain", "json")), "another module"
    assert child.process.pid not in ours.strangers(_ROLE), "its own"
    spec.write_text("no JSON")
    child.process.wait(20)
    assert variables["EXTRA"] == "here"
    assert variables[PARENT_VARIABLE] == str(os.getpid())
    assert "code" in variables["PYTHONPATH"].split(os.pathsep)[0]
    assert child.process.pid not in others.strangers(_ROLE)
    assert child.exit_reason() == "ended with exit code 1"
    assert "Expecting value" in log_tail(child)


def test_the_log_tail_is_short_and_a_missing_log_is_no_error(tmp_path: Path) -> None:
    child, _ = _child(tmp_path)
    end_all([child], 0)
    child.log.write_bytes(b"\xff\n" + b"\n".join(b"%d " % n + b"x" * 999 for n in range(20)))
    tail = log_tail(child).split("\n    ")[1:]
    assert [line.split()[0] for line in tail] == ["14", "15", "16", "17", "18", "19"]
    assert max(map(len, tail)) <= 300
    child.log.write_text(
        "the last words\n\n/x/resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 2\n"
        "  warnings.warn('resource_tracker: There appear to be %d '\n"
    )
    assert log_tail(child) == "\n    the last words"
    child.log.unlink()
    assert log_tail(child) == ""


def test_a_child_that_was_given_a_secret_writes_none_to_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tells_all.py").write_text(
        "import os, sys\nprint('before', os.environ['MY_TOKEN'], 'after', flush=True)\n"
        "sys.stderr.write('Authorization: Bearer ' + 'abcdefgh12345\\n' + 'last words')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = LocalLauncher().start(
        Role("teller", "tells_all"), "teller", tmp_path, tmp_path / "log", {"MY_TOKEN": "open-sesame"}
    )
    assert child.wait(20)
    assert "last words" in log_tail(child)
    assert (tmp_path / "log").read_text() == (
        "before <secret> after\nAuthorization: Bearer <secret>\nlast words"
    )
