from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from harness_llm.results.observed import BusyPeriod, OthersRecord
from harness_llm.system import others
from harness_llm.system.others import CoreTime, Others


class _Machine:
    """A host whose others hold what a test says, second by second."""

    def __init__(self) -> None:
        self.now, self.busy, self.own = 0.0, 0.0, 0.0
        self.reads = 0

    def read(self) -> CoreTime:
        self.reads += 1
        return CoreTime(self.busy, self.own)

    def spend(self, seconds: int, others: float, own: float, looker: Others) -> None:
        for _ in range(seconds):
            self.now += 1
            self.busy += others + own
            self.own += own
            looker.look()


@pytest.fixture
def machine() -> _Machine:
    return _Machine()


def _others(machine: _Machine) -> Others:
    looker = Others(machine.read, lambda: machine.now)
    looker.cores = 2
    return looker


def test_a_time_in_which_others_held_cores_is_one_period_and_the_run_is_none_of_them(
    machine: _Machine,
) -> None:
    looker = _others(machine)
    assert (looker.now, looker.mean, looker.periods()) == (None, 0.0, [])
    machine.spend(60, 0.05, 1.9, looker)
    machine.spend(30, 1.4, 0.5, looker)
    assert looker.is_noticeable and looker.now == pytest.approx(1.4)
    machine.spend(30, 0.0, 2.0, looker)
    assert not looker.is_noticeable
    (period,) = looker.periods()
    assert (period.from_s, period.to_s) == (60, 90)
    assert period.cores == pytest.approx(1.4)
    assert looker.mean == pytest.approx((60 * 0.05 + 30 * 1.4) / 120)
    assert machine.reads == 25, "one at first, then one every 5 s"


def test_what_a_process_that_ended_leaves_behind_never_counts_negative(machine: _Machine) -> None:
    looker = _others(machine)
    machine.own = 100.0
    machine.spend(5, 0.0, 0.0, looker)
    machine.own = 0.0
    machine.spend(5, 9.0, 0.0, looker)
    assert looker.now == 2.0, "no more than there are"


def test_many_periods_are_told_by_the_longest(machine: _Machine) -> None:
    looker = _others(machine)
    for turn in range(30):
        machine.spend(5 if turn != 7 else 15, 1.0, 0.0, looker)
        machine.spend(10, 0.0, 0.0, looker)
    assert len(looker.periods()) == 20
    assert max(period.to_s - period.from_s for period in looker.periods()) == 15


def test_the_sentence_names_cores_and_times() -> None:
    first = BusyPeriod(from_s=108, to_s=160, cores=1.4)
    assert OthersRecord(cores=2, periods=(first,)).told == "others used 1.4 of 2 cores from 1:48 to 2:40"
    assert OthersRecord(cores=1, periods=(first,)).told.startswith("others used 1.4 of 1 core from")
    more = tuple(BusyPeriod(from_s=200 + 20 * n, to_s=210 + 20 * n, cores=0.5) for n in range(4))
    told = OthersRecord(cores=2, periods=(first, *more)).told
    assert told.startswith(
        "others used 1.4 of 2 cores from 1:48 to 2:40, 0.5 cores from 3:20 to 3:30, 0.5 cores"
    )
    assert told.endswith("and 2 more times")
    assert OthersRecord(cores=2, periods=(first, *more[:3])).told.endswith("and 1 more time")
    assert OthersRecord(cores=2).told == ""


def test_a_child_of_this_process_is_its_own() -> None:
    """On the real host: what a child burns is the run's, whatever else runs here."""
    host = others._Host()
    before = host.read()
    code = "import time\nwhile time.process_time() < 0.5: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        child.wait()
    deadline = time.monotonic() + 5
    while host.read().own - before.own < 0.45 and time.monotonic() < deadline:
        time.sleep(0.05)
    after = host.read()
    assert after.own - before.own >= 0.45
    assert after.busy - before.busy >= 0.4


_SERVER = """
import os, socket, time
if os.fork():
    os._exit(0)  # so that it is no child of whoever started it
os.setsid()
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(os.getpid(), listening.getsockname()[1], flush=True)
    open_connection, _ = listening.accept()
    os.fork()  # as an API server has an engine beside it
    end = time.process_time() + 1.0
    while time.process_time() < end:
        pass
    os.write(1, b"spent\\n")  # a whole line at once: two processes write here
    time.sleep(60)
"""


def _own_beside_this() -> float:
    """CPU seconds of the run's processes, without this one's."""
    return others._Host().read().own - time.process_time()


def test_a_server_that_the_run_asks_is_none_of_the_others() -> None:
    command = [sys.executable, "-c", _SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid, port = map(int, starter.stdout.readline().split())
        try:
            before = _own_beside_this()
            with socket.create_connection(("127.0.0.1", port)):
                assert [starter.stdout.readline() for _ in range(2)] == ["spent\n"] * 2
                assert _own_beside_this() - before > 1.9
            assert _own_beside_this() - before < 1.0, "nobody is connected any more"
        finally:
            os.killpg(pid, signal.SIGKILL)
