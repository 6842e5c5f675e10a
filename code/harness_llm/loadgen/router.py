"""Which replica answers which query: two policies behind one interface, with no input or output of their own.

Offline is *pulled*: each replica keeps a bounded backlog, and what finishes makes room for more, so a
fast replica takes more, and the last queries are shared out by measured speed, so that all replicas end
together. Server is *pushed*: each query goes at once to the replica with the fewest tokens in flight.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


Assignment = tuple[int, list[int]]
"""(replica, ordinals of queries that go to it now, in order)."""


class Router(Protocol):
    """Decides; the SUT sends. Not thread-safe: the SUT holds its lock."""

    def assign(self, ordinals: Sequence[int], costs: Sequence[int]) -> list[Assignment]:
        """Take queries that arrived, and say which go to a replica now.

        Args:
            ordinals: The queries, in order.
            costs: Estimated work of each query, tokens (prompt plus output limit).
        """

    def release(self, replica: int, ordinals: Sequence[int]) -> list[Assignment]:
        """Take back the room of queries that `replica` completed, and say which go to a replica now."""

    def lose(self, replica: int, ordinals: Sequence[int]) -> list[Assignment]:
        """Give `replica` nothing from now on, and say to whom the queries that it held go now.

        Those that go to nobody now wait before all that waited. There is another replica.
        """


class PullRouter:
    """Keeps each replica's queue at a fixed depth from one common queue, and shallower near the end.

    Args:
        depths: For each replica, queries that it may hold: those it works on plus its backlog.
    """

    def __init__(self, depths: Sequence[int]) -> None:
        assert depths and all(depth > 0 for depth in depths)
        self._room = list(depths)
        self._held = [0] * len(depths)
        self._done = [0] * len(depths)
        self._lost: set[int] = set()
        self._waiting: deque[int] = deque()

    def assign(self, ordinals: Sequence[int], costs: Sequence[int]) -> list[Assignment]:
        """Queue the queries and fill every replica, evenly while there is room."""
        del costs
        self._waiting.extend(ordinals)
        return self._fill()

    def lose(self, replica: int, ordinals: Sequence[int]) -> list[Assignment]:
        """Put its queries before all that wait, and fill the others."""
        self._lost.add(replica)
        self._room[replica] = self._held[replica] = self._done[replica] = 0
        self._waiting.extendleft(reversed(ordinals))
        return self._fill()

    def _fill(self) -> list[Assignment]:
        assignments: list[list[int]] = [[] for _ in self._room]
        while self._waiting and any(self._room):
            open_replicas = [index for index, room in enumerate(self._room) if room]
            share = max(
                1, min(len(self._waiting) // len(open_replicas), min(self._room[i] for i in open_replicas))
            )
            for replica in open_replicas:
                assignments[replica].extend(self._take(replica, share))
        return [(replica, taken) for replica, taken in enumerate(assignments) if taken]

    def release(self, replica: int, ordinals: Sequence[int]) -> list[Assignment]:
        """Make room for what is complete and hand out as much, or less near the end."""
        self._room[replica] += len(ordinals)
        self._held[replica] -= len(ordinals)
        self._done[replica] += len(ordinals)
        taken = self._take(replica, self._share(replica))
        return [(replica, taken)] if taken else []

    def _share(self, replica: int) -> int:
        """Queries to give so that no replica works on when the others are done.

        All replicas began together, so what each has completed is its speed v. All end together if each
        takes its v / sum(v) of what is left, held or waiting; what it holds it has already. Rounded up, so
        a replica with nothing left takes one, and no query is stranded.
        """
        if not all(done for index, done in enumerate(self._done) if index not in self._lost):
            return self._room[replica]
        left = len(self._waiting) + sum(self._held)
        return max(0, math.ceil(left * self._done[replica] / sum(self._done)) - self._held[replica])

    def _take(self, replica: int, limit: int) -> list[int]:
        count = min(limit, self._room[replica], len(self._waiting))
        self._room[replica] -= count
        self._held[replica] += count
        return [self._waiting.popleft() for _ in range(count)]


class PushRouter:
    """Sends each query at once to the replica with the fewest tokens in flight.

    A slower replica keeps its tokens in flight for longer, so it is given less without being told to;
    dividing by measured speed gained nothing on top (docs/performance.md). Ties go round in turn.

    Args:
        replicas: How many there are.
    """

    def __init__(self, replicas: int) -> None:
        assert replicas > 0
        self._load: list[float] = [0] * replicas
        self._cost: dict[int, int] = {}
        self._last = replicas - 1

    def assign(self, ordinals: Sequence[int], costs: Sequence[int]) -> list[Assignment]:
        """Assign every query now."""
        assignments: dict[int, list[int]] = {}
        for ordinal, cost in zip(ordinals, costs, strict=True):
            replica = self._least_loaded()
            self._load[replica] += cost
            self._cost[ordinal] = cost
            assignments.setdefault(replica, []).append(ordinal)
        return list(assignments.items())

    def release(self, replica: int, ordinals: Sequence[int]) -> list[Assignment]:
        """Take the queries off the replica's load; nothing waits here, so nothing is handed out."""
        for ordinal in ordinals:
            self._load[replica] -= self._cost.pop(ordinal)
        return []

    def lose(self, replica: int, ordinals: Sequence[int]) -> list[Assignment]:
        """Send its queries to the others at once."""
        self._load[replica] = math.inf
        return self.assign(ordinals, [self._cost[ordinal] for ordinal in ordinals])

    def _least_loaded(self) -> int:
        count = len(self._load)
        self._last = min(
            ((self._last + 1 + step) % count for step in range(count)), key=self._load.__getitem__
        )
        return self._last
