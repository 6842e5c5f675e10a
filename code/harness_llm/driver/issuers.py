"""When the next rows of a schedule are due, by three rules; pure: no clock and no socket of their own."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from harness_llm.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from harness_llm.transport.spec import DriverTest

_DTYPE = np.dtype([("at_ns", "<i8"), ("sample", "<i8")])


@dataclass(frozen=True, eq=False)
class Schedule:
    """The rows that a load asks, in order.

    Attributes:
        at_ns: When each is due after the start, nanoseconds, ascending; 0 where another rule decides.
        sample: Index into the sample table.
    """

    at_ns: npt.NDArray[np.int64]
    sample: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sample)

    def save(self, path: Path) -> None:
        """Write it as a file that `load` reads."""
        table = np.empty(len(self), _DTYPE)
        table["at_ns"], table["sample"] = self.at_ns, self.sample
        with path.open("wb") as file:
            np.save(file, table, allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> Schedule:
        """Read it back.

        Raises:
            DatasetError: The file holds no schedule.
        """
        with path.open("rb") as file:
            try:
                table = np.load(file, allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise DatasetError(f"{path}: not a schedule: {error}") from error
        if table.dtype != _DTYPE or not len(table):
            raise DatasetError(f"{path}: not a schedule")
        return cls(np.ascontiguousarray(table["at_ns"]), np.ascontiguousarray(table["sample"]))


class Issuer(Protocol):
    """Says how many of the next rows are due; rows are issued in order, so a count is enough."""

    def due(self, now_ns: int) -> int:
        """How many further rows to issue now; they count as issued. Nanoseconds after the start."""

    def answered(self, count: int, now_ns: int) -> None:
        """So many rows have their answers."""

    def next_ns(self) -> int | None:
        """When to look again, if nothing is answered before; None: not before."""


class Timed:
    """Each row at its time, whatever was answered; the schedule starts over every `period_ns`.

    Args:
        at_ns: When each row is due the first time.
        period_ns: None: a mean gap after its last row, as studies of before have it.
    """

    def __init__(self, at_ns: npt.NDArray[np.int64], period_ns: int | None = None) -> None:
        self._at = at_ns
        span = int(at_ns[-1]) - int(at_ns[0])
        self._period = period_ns or span + max(1, span // max(1, len(at_ns) - 1))
        self._issued = 0

    def time_ns(self, row: int) -> int:
        """When a row is due, over the end of the schedule too."""
        rounds, place = divmod(row, len(self._at))
        return int(self._at[place]) + rounds * self._period

    def due(self, now_ns: int) -> int:
        """Every row whose time has come."""
        rounds, rest_ns = divmod(now_ns - int(self._at[0]), self._period)
        until = rounds * len(self._at) + int(np.searchsorted(self._at, self._at[0] + rest_ns, side="right"))
        first, self._issued = self._issued, max(self._issued, until)
        return self._issued - first

    def answered(self, count: int, now_ns: int) -> None:
        """Changes nothing."""

    def next_ns(self) -> int:
        """The next row's time."""
        return self.time_ns(self._issued)


class Slots:
    """As many rows open as there are slots; a slot whose row was answered rests before the next."""

    def __init__(self, width: int, think_ns: int = 0) -> None:
        self._ready = [0] * width  # when each free slot is ready, a heap
        self._think_ns = think_ns

    def due(self, now_ns: int) -> int:
        """A row for each free slot that has rested."""
        count = 0
        while self._ready and self._ready[0] <= now_ns:
            heapq.heappop(self._ready)
            count += 1
        return count

    def answered(self, count: int, now_ns: int) -> None:
        """So many slots are free, and rest."""
        for _ in range(count):
            heapq.heappush(self._ready, now_ns + self._think_ns)

    def next_ns(self) -> int | None:
        """When the next free slot has rested."""
        return self._ready[0] if self._ready else None


class Groups:
    """So many rows together, and the next when all of them are answered."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._open = 0

    def due(self, now_ns: int) -> int:
        """A whole group, or nothing."""
        if self._open:
            return 0
        self._open = self._width
        return self._width

    def answered(self, count: int, now_ns: int) -> None:
        """So many rows of the group have their answers."""
        self._open -= count

    def next_ns(self) -> int | None:
        """At once for the first, else with the last answer."""
        return None if self._open else 0


def make_issuer(test: DriverTest, schedule: Schedule) -> Issuer:
    """The rule of a test."""
    if test.rule == "timed":
        return Timed(schedule.at_ns, test.period_ns)
    return Slots(test.width, test.think_ns) if test.rule == "slots" else Groups(test.width)
