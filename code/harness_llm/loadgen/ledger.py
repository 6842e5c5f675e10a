"""One row per query of a test, in a file that survives the process: what was issued, when it was answered.

The rows lie in a memory-mapped `.npy` file, so that nothing measured is lost when the process is
killed, and any numpy can read them.
"""

from __future__ import annotations

import mmap
import os
import time
from array import array
from typing import TYPE_CHECKING

import numpy as np

from harness_llm.core import EventStatus
from harness_llm.errors import ProtocolError, refused_by_host
from harness_llm.results.events import EVENT_DTYPE, EVENT_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt


_ROW = len(EVENT_FIELDS)
_SAMPLE, _REPLICA, _ISSUED, _FIRST, _FINISHED, _TOKENS, _PROMPT, _STATUS, _FIRST_BATCH, _LAST_BATCH = range(
    _ROW
)
_HEADER_BYTES = 512
_NOBODY = -1
# As numbers: a look into an enum takes longer than all else that is done with a status.
_IS_ISSUED, _HAS_FIRST, _IS_FINISHED, _HAS_FAILED = (
    int(status)
    for status in (EventStatus.ISSUED, EventStatus.FIRST_TOKEN, EventStatus.FINISHED, EventStatus.FAILED)
)


def _header(rows: int) -> bytes:
    """A `.npy` version 1.0 header of fixed size (numpy.lib.format, NEP 1)."""
    description = {"descr": EVENT_DTYPE.descr, "fortran_order": False, "shape": (rows,)}
    text = repr(description).encode()
    padding = _HEADER_BYTES - 10 - len(text) - 1
    assert padding >= 0
    return b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little") + text + b" " * padding + b"\n"


class Ledger:
    """Records every query of a test once, and refuses what cannot be true.

    A query's *ordinal* is its place in the order of issue; it is also its request id towards engines.
    Not thread-safe: the SUT holds its lock.

    Args:
        path: The events file to create; it must not exist.
        capacity: Rows to make room for at first; the file grows by doubling.

    Raises:
        FileExistsError: The events file is there.
        HostError: No room on the disk.
    """

    def __init__(self, path: Path, capacity: int = 4096) -> None:
        if path.exists():
            raise FileExistsError(f"{path}: exists, with the events of an earlier test")
        self._path = path
        hidden = path.with_name(f".{path.name}")
        self._descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        self._loadgen_ids = array("Q")
        self._asked = array("i")  # the replica that each query was given to
        self._repeats: set[int] = set()  # first token reported by a replica that is lost, due again
        self.issued = 0
        self.finished = 0
        self.tokens = 0
        self._grow(capacity)
        hidden.rename(path)  # with its header: whoever reads meanwhile sees a whole file or none

    def _grow(self, capacity: int) -> None:
        size = _HEADER_BYTES + capacity * _ROW * 8
        try:
            os.posix_fallocate(self._descriptor, 0, size)
        except OSError as error:
            raise refused_by_host(
                f"{self._path}: no room for {capacity} events", error, "Free disk space."
            ) from error
        self._map = mmap.mmap(self._descriptor, size)
        self._map[:_HEADER_BYTES] = _header(capacity)
        self._rows = memoryview(self._map)[_HEADER_BYTES:].cast("q")
        self._capacity = capacity

    def record_issue(
        self, loadgen_ids: Sequence[int], samples: Sequence[int], prompt_tokens: Sequence[int]
    ) -> range:
        """Record queries that LoadGen asks for now; returns their ordinals."""
        now = time.monotonic_ns()
        first = self.issued
        count = len(loadgen_ids)
        if first + count > self._capacity:
            self._grow(max(2 * self._capacity, first + count))
        self._loadgen_ids.extend(loadgen_ids)
        self._asked.extend(array("i", [_NOBODY]) * count)
        if count == 1:
            base = first * _ROW
            self._rows[base + _SAMPLE] = samples[0]
            self._rows[base + _ISSUED] = now
            self._rows[base + _PROMPT] = prompt_tokens[0]
            self._rows[base + _STATUS] = _IS_ISSUED
        else:
            block = np.frombuffer(self._rows, np.int64).reshape(-1, _ROW)[first : first + count]
            block[:, _SAMPLE] = samples
            block[:, _ISSUED] = now
            block[:, _PROMPT] = prompt_tokens
            block[:, _STATUS] = _IS_ISSUED
        self.issued = first + count
        return range(first, self.issued)

    def events(self, start: int) -> npt.NDArray[np.void]:
        """The rows of all queries from ordinal `start` on; a view, to be let go before the next issue."""
        return np.frombuffer(self._map, EVENT_DTYPE, self.issued - start, _HEADER_BYTES + start * _ROW * 8)

    def loadgen_ids(self, ordinals: Sequence[int]) -> list[int]:
        """LoadGen's own ids of queries."""
        return [self._loadgen_ids[ordinal] for ordinal in ordinals]

    def sample(self, ordinal: int) -> int:
        """Index into the sample table of a query."""
        return self._rows[ordinal * _ROW + _SAMPLE]

    def record_assignment(self, ordinal: int, replica: int) -> int:
        """Record which replica gets a query and alone may answer it from now on; returns its sample."""
        self._asked[ordinal] = replica
        return self._rows[ordinal * _ROW + _SAMPLE]

    def unfinished(self, replica: int) -> list[int]:
        """Queries that were given to `replica` and have no whole answer, in order."""
        rows = np.frombuffer(self._rows, np.int64).reshape(-1, _ROW)[: self.issued]
        is_its = np.frombuffer(self._asked, np.int32) == replica
        is_open = (rows[:, _STATUS] == _IS_ISSUED) | (rows[:, _STATUS] == _HAS_FIRST)
        found: list[int] = np.flatnonzero(is_its & is_open).tolist()
        return found

    def take_back(self, ordinals: Iterable[int]) -> None:
        """Record that these queries, unfinished, were taken from their replica: nobody may answer them now.

        A first token that was reported stays what it is; whoever answers next repeats it.
        """
        for ordinal in ordinals:
            self._asked[ordinal] = _NOBODY
            if self._rows[ordinal * _ROW + _STATUS] == _HAS_FIRST:
                self._repeats.add(ordinal)

    def record_first_token(self, ordinal: int, replica: int, now: int, batch: int = 0) -> int | None:
        """Record a first token; returns nanoseconds since the query was issued.

        None says that the query's first token was reported, by a replica that is lost, and this is that one
        again: it is recorded as it was, and must not be reported once more.

        Raises:
            ProtocolError: The query is unknown, another replica's, finished, or had its first token already.
        """
        base = self._row(ordinal, replica)
        rows = self._rows
        if ordinal in self._repeats:
            self._repeats.remove(ordinal)
            rows[base + _REPLICA] = replica
            return None
        if rows[base + _STATUS] != _IS_ISSUED:
            raise self._impossible(ordinal, replica, "first token")
        rows[base + _FIRST] = now
        rows[base + _FIRST_BATCH] = batch
        rows[base + _REPLICA] = replica
        rows[base + _STATUS] = _HAS_FIRST
        return now - rows[base + _ISSUED]

    def record_finish(
        self, ordinal: int, replica: int, tokens: int, now: int, needs_first_token: bool, batch: int = 0
    ) -> float | None:
        """Record a complete answer; returns ns for each token after the first, None where not known.

        Raises:
            ProtocolError: The query is unknown, another replica's, finished before, or lacks a first token
                that it needs.
        """
        base = self._row(ordinal, replica)
        rows = self._rows
        status = rows[base + _STATUS]
        is_unasked = needs_first_token and (status != _HAS_FIRST or ordinal in self._repeats)
        if is_unasked or status not in (_IS_ISSUED, _HAS_FIRST):
            raise self._impossible(ordinal, replica, "answer")
        rows[base + _FINISHED] = now
        rows[base + _LAST_BATCH] = batch
        rows[base + _REPLICA] = replica
        rows[base + _TOKENS] = tokens
        rows[base + _STATUS] = _IS_FINISHED
        self.finished += 1
        self.tokens += tokens
        first = rows[base + _FIRST]
        return (now - first) / (tokens - 1) if first and tokens > 1 else None

    def record_failure(self, ordinal: int, replica: int) -> None:
        """Record that a query cannot be answered.

        Raises:
            ProtocolError: The query is unknown, another replica's, or finished.
        """
        base = self._row(ordinal, replica)
        if self._rows[base + _STATUS] not in (_IS_ISSUED, _HAS_FIRST):
            raise self._impossible(ordinal, replica, "failure")
        self._rows[base + _REPLICA] = replica
        self._rows[base + _STATUS] = _HAS_FAILED

    def close(self) -> None:
        """Cut the file to the rows used and make it durable; the ledger takes no more."""
        self._map[:_HEADER_BYTES] = _header(self.issued)
        self._map.flush()
        self._rows = memoryview(b"").cast("q")
        os.ftruncate(self._descriptor, _HEADER_BYTES + self.issued * _ROW * 8)
        os.fsync(self._descriptor)
        os.close(self._descriptor)

    def _row(self, ordinal: int, replica: int) -> int:
        if not 0 <= ordinal < self.issued:
            raise ProtocolError(f"replica {replica}: answered query {ordinal}, which was never issued")
        asked = self._asked[ordinal]
        if asked != replica:
            whose = "no replica" if asked == _NOBODY else f"replica {asked}"
            raise ProtocolError(f"replica {replica}: answered query {ordinal}, which was sent to {whose}")
        return ordinal * _ROW

    def _impossible(self, ordinal: int, replica: int, what: str) -> ProtocolError:
        status = EventStatus(self._rows[ordinal * _ROW + _STATUS]).name.lower()
        return ProtocolError(f"replica {replica}: {what} for query {ordinal}, which is in state {status}")
