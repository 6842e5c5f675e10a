"""How a run, and any other command, is ended from outside."""

from __future__ import annotations

import functools
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fault_kinds.fault import Fault, Seen
from fault_kinds.rig import REPLICA

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_kinds.rig import Rig

_AREA = "A run, or another command, is ended from outside"
_INT, _TERM, _HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def signalled(*numbers: signal.Signals, gap: float = 0.1) -> Callable[[Rig], Seen]:
    """Signals to a run while LoadGen asks."""

    def provoke(rig: Rig) -> Seen:
        rig.running(replicas=2)
        return rig.finish(rig.signal(*numbers, gap=gap))

    return provoke


def group_signalled(number: signal.Signals) -> Callable[[Rig], Seen]:
    """A signal to every process of the shell's job, as a terminal sends it."""

    def provoke(rig: Rig) -> Seen:
        rig.running(replicas=2)
        assert rig.process is not None
        since = time.monotonic()
        os.killpg(rig.process.pid, number)
        return rig.finish(since)

    return provoke


def shell_killed(rig: Rig) -> Seen:
    """The shell that started the run is killed; the run is of nobody now, and goes on to its end."""
    rig.conf = rig.conf.replace("120000", "4000").replace("count = 500", "count = 100")
    rig.start(rig.run_arguments("Server"), shell="; true")
    rig.wait_until(rig.is_answered)
    rig.signal(signal.SIGKILL)
    rig.finish()
    since = time.monotonic()
    while rig.state() != "complete" and time.monotonic() < since + 30:
        time.sleep(0.1)
    return rig.verb("show", str(rig.output))


def at_start(number: signal.Signals, ready: Callable[[Rig], bool]) -> Callable[[Rig], Seen]:
    """A signal to a run as soon as something is so."""

    def provoke(rig: Rig) -> Seen:
        rig.start(rig.run_arguments("Server"))
        rig.wait_until(lambda: ready(rig))
        return rig.finish(rig.signal(number))

    return provoke


def after(seconds: float, number: signal.Signals, *arguments: str) -> Callable[[Rig], Seen]:
    """A signal to any verb so soon after its start."""

    def provoke(rig: Rig) -> Seen:
        rig.start(arguments or rig.run_arguments("Server"))
        assert rig.process is not None
        process = rig.process
        rig.wait_until(lambda: _traps(process.pid, _TERM))
        time.sleep(seconds)
        return rig.finish(rig.signal(number))

    return provoke


def _traps(process: int, number: signal.Signals) -> bool:
    """Whether a process has set its handlers: Python itself takes a moment to come so far."""
    status = Path(f"/proc/{process}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def killed_then_another(rig: Rig) -> Seen:
    """The command is killed; the next run clears what it left."""
    rig.running(replicas=2)
    rig.signal(signal.SIGKILL)
    rig.finish()
    assert [*rig.temporary.glob("harness-llm-*")]
    assert not rig.host.left()
    for owner in rig.temporary.glob("harness-llm-*/owner"):
        os.utime(owner, (0, 0))  # it is not being made right now
    rig.output = rig.folder / "second"
    rig.harness["replicas"] = 1
    return rig.run("Offline")


def all_killed_then_another(rig: Rig) -> Seen:
    """Every process is killed at once, as with a container; the next run clears what they held."""
    rig.running(replicas=2)
    victims = rig.processes()
    for process in victims:
        process.suspend()  # so that none sees another's end
    for process in victims:
        process.kill()
    rig.finish()
    assert {Path(path).name[:4] for path in rig.host.left()} == {"psm_", "sem."}
    for owner in rig.temporary.glob("harness-llm-*/owner"):
        os.utime(owner, (0, 0))  # it is not being made right now
    rig.output = rig.folder / "second"
    rig.harness["replicas"] = 1
    return rig.run("Offline")


def killed_then(*verb: str) -> Callable[[Rig], Seen]:
    """Another command looks at a run whose command was killed."""

    def provoke(rig: Rig) -> Seen:
        rig.running()
        rig.signal(signal.SIGKILL)
        rig.finish()
        return rig.verb(*(str(rig.output) if part == "RUN" else part for part in verb))

    return provoke


def resumed(rig: Rig) -> Seen:
    """A run that was interrupted is continued to its end."""
    rig.harness["engine"] = {"kind": "simulated", "first_token_ms": 20, "per_token_ms": 1}
    rig.conf = rig.conf.replace("120000", "5000").replace("count = 500", "count = 100")
    rig.running()
    rig.finish(rig.signal(_INT))
    return rig.run("Server", "--resume")


_stopped = functools.partial(Fault, _AREA, code=3, state="interrupted")
_KEPT = ("stopped; what was measured is kept in", "--resume continues it")

FAULTS = (
    _stopped("Ctrl-C once", signalled(_INT), says=_KEPT, in_ci=True),
    _stopped("Ctrl-C twice", signalled(_INT, _INT), says=_KEPT, in_ci=True),
    _stopped("Ctrl-C twenty times, fast", signalled(*[_INT] * 20, gap=0.02), says=_KEPT),
    _stopped("SIGTERM", signalled(_TERM), says=_KEPT, in_ci=True),
    _stopped("SIGTERM five times", signalled(*[_TERM] * 5), says=_KEPT),
    _stopped("SIGHUP: the terminal is closed", signalled(_HUP), says=_KEPT),
    _stopped("SIGHUP, SIGTERM and Ctrl-C together", signalled(_HUP, _TERM, _INT, gap=0), says=_KEPT),
    _stopped(
        "Ctrl-C while engines load", at_start(_INT, lambda rig: bool(rig.processes(REPLICA))), says=_KEPT
    ),
    _stopped(
        "SIGTERM while engines load", at_start(_TERM, lambda rig: bool(rig.processes(REPLICA))), says=_KEPT
    ),
    _stopped("Ctrl-C at a terminal: every process of the job has it", group_signalled(_INT), says=_KEPT),
    _stopped("SIGHUP to every process of the job", group_signalled(_HUP), says=_KEPT),
    _stopped("SIGTERM to every process of the job", group_signalled(_TERM), says=_KEPT),
    Fault(
        _AREA,
        "SIGKILL of the shell that started the run",
        shell_killed,
        0,
        ("VALID",),
        within_s=40,
        state="complete",
    ),
    Fault(_AREA, "Ctrl-C while Python imports", after(0.0, _INT), 3, ("stopped",), in_ci=True),
    Fault(_AREA, "SIGTERM while Python imports", after(0.1, _TERM), 3, ("stopped",)),
    Fault(_AREA, "Ctrl-C while a run is prepared", after(0.5, _INT), 3, ("stopped",)),
    Fault(_AREA, "Ctrl-C in `check`", after(0.0, _INT, "check", "run"), 3, ("stopped",)),
    Fault(_AREA, "SIGTERM in `show`", after(0.0, _TERM, "show", "run"), 3, ("stopped",)),
    Fault(_AREA, "Ctrl-C in `system`", after(0.1, _INT, "system"), 3, ("stopped",)),
    Fault(
        _AREA,
        "SIGKILL of the command; another run follows",
        killed_then_another,
        0,
        ("VALID",),
        within_s=30,
        state="complete",
        cleared=True,
        stays="until the next run: a folder of sockets",
    ),
    Fault(
        _AREA,
        "SIGKILL of every process at once (a container's end); another run follows",
        all_killed_then_another,
        0,
        ("VALID",),
        within_s=30,
        state="complete",
        cleared=True,
        stays="until the next run: a folder of sockets, shared memory",
    ),
    *(
        Fault(
            _AREA,
            f"SIGKILL of the command; `{' '.join(verb)}`",
            killed_then(*verb),
            code,
            ("cut off", *says),
            state="running",
            stays="until the next run: a folder of sockets",
        )
        for code, says, *verb in (
            (1, ("its process was killed", "--resume"), "show", "RUN"),
            (0, (), "list", "RUN"),
            (0, ("its process was killed", "--resume"), "watch", "RUN", "--view", "plain"),
            (1, ("its process was killed",), "check", "RUN"),
            (2, ("its process was killed",), "package", "RUN", "--company", "C", "--system-name", "s"),
        )
    ),
    Fault(
        _AREA,
        "Ctrl-C, then --resume",
        resumed,
        0,
        ("VALID",),
        within_s=30,
        state="complete",
    ),
)
