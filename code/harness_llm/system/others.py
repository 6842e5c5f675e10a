"""What processes of others hold of the cores that a run may use, while it runs: from /proc, by psutil.

A server on this host that a run measures is not one of the others.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

_INTERVAL_S = 5.0
_COST = 1 / 300
"""Share of one core that looking may take; where /proc is long, looks are further apart."""
_LEAST_CORES = 0.25
_LEAST_SHARE = 0.05
_MOST_PERIODS = 20


@dataclass(frozen=True)
class CoreTime:
    """Processor time so far, seconds.

    Attributes:
        busy: Of all processes, on the cores that this one may use; time stolen by a hypervisor counts.
        own: Of this process, of all that it started, and of servers on this host that these are connected to.
    """

    busy: float
    own: float


def least_noticeable(cores: int) -> float:
    """From how many cores on what others hold of `cores` is worth reporting."""
    return max(_LEAST_CORES, _LEAST_SHARE * cores)


@dataclass(frozen=True)
class Period:
    """A time in which others held cores.

    Attributes:
        from_s: Its start, seconds since looking began.
        to_s: Its end.
        cores: What they held, mean.
    """

    from_s: float
    to_s: float
    cores: float

    def joined(self, later: Period) -> Period:
        """Both as one, which follow each other."""
        first, second = self.to_s - self.from_s, later.to_s - later.from_s
        cores = (self.cores * first + later.cores * second) / (first + second)
        return Period(self.from_s, later.to_s, cores)


class Others:
    """Looks every few seconds at what others hold.

    Args:
        read: Where readings come from; None for this host.
        clock: Monotonic seconds.

    Attributes:
        cores: Cores that this process may use.
        own: Cores that it and what it started used when last looked at; None before that.
    """

    def __init__(
        self, read: Callable[[], CoreTime] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.cores = len(os.sched_getaffinity(0))
        self._read, self._clock = read or _Host().read, clock
        self._began = self._at = clock()
        self._interval_s = _INTERVAL_S
        self._last = self._measured()
        self._all: list[Period] = []
        self.own: float | None = None

    def look(self) -> None:
        """Call it as often as you like."""
        now = self._clock()
        if now - self._at < self._interval_s:
            return
        reading = self._measured()
        gone = now - self._at
        busy, own = reading.busy - self._last.busy, max(0.0, reading.own - self._last.own)
        held = min(float(self.cores), max(0.0, busy - own) / gone)
        self._all.append(Period(self._at - self._began, now - self._began, held))
        self.own = own / gone
        self._at, self._last = now, reading

    def _measured(self) -> CoreTime:
        before = time.thread_time()
        reading = self._read()
        self._interval_s = max(_INTERVAL_S, (time.thread_time() - before) / _COST)
        return reading

    @property
    def now(self) -> float | None:
        """Cores that they held when last looked at; None before that."""
        return self._all[-1].cores if self._all else None

    @property
    def is_noticeable(self) -> bool:
        """Whether what they hold now is worth reporting."""
        return self.now is not None and self.now >= self._least

    @property
    def mean(self) -> float:
        """Cores that they held all the time."""
        span = sum(period.to_s - period.from_s for period in self._all)
        return (
            sum(period.cores * (period.to_s - period.from_s) for period in self._all) / span if span else 0.0
        )

    def periods(self) -> list[Period]:
        """When they held enough to matter, in order; the longest ones where there are many."""
        found: list[Period] = []
        for period in self._all:
            if period.cores < self._least:
                continue
            if found and period.from_s - found[-1].to_s <= _INTERVAL_S / 2:
                found[-1] = found[-1].joined(period)
            else:
                found.append(period)
        longest = sorted(found, key=lambda period: period.from_s - period.to_s)[:_MOST_PERIODS]
        return sorted(longest, key=lambda period: period.from_s)

    @property
    def _least(self) -> float:
        return least_noticeable(self.cores)


class _Host:
    """Readings of this host."""

    def read(self) -> CoreTime:
        return CoreTime(self._busy(), self._own())

    def _busy(self) -> float:
        each = psutil.cpu_times(percpu=True)
        times = [each[core] for core in os.sched_getaffinity(0) if core < len(each)] or each
        return sum(
            part.user + part.nice + part.system + part.irq + part.softirq + part.steal for part in times
        )

    def _own(self) -> float:
        """Of each living process what it used, and what the children used that it has waited for."""
        this = psutil.Process()
        own = {process.pid: process for process in (this, *this.children(recursive=True))}
        used = 0.0
        for process in (own | _local_servers(own)).values():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                used += times.user + times.system + times.children_user + times.children_system
        return used


def _local_servers(own: Mapping[int, psutil.Process]) -> dict[int, psutil.Process]:
    """Servers on this host that these are connected to over TCP, with all of their process groups."""
    asked = set()
    for process in own.values():
        with contextlib.suppress(psutil.Error):
            asked |= {link.raddr for link in process.net_connections("tcp") if _is_open(link)}
    if not asked:
        return {}
    groups = set()
    for link in psutil.net_connections("tcp"):
        if link.laddr in asked and _is_open(link) and link.pid and link.pid not in own:
            with contextlib.suppress(ProcessLookupError):
                groups.add(os.getpgid(link.pid))
    groups.discard(os.getpgid(0))  # of a script that started both, and perhaps more
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if process.pid not in own and os.getpgid(process.pid) in groups:
                found[process.pid] = process
    return found


def _is_open(link: Any) -> bool:
    return bool(link.status == psutil.CONN_ESTABLISHED)
