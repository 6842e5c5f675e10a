from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.loadgen.router import PullRouter, PushRouter

if TYPE_CHECKING:
    from harness_llm.loadgen.router import Assignment, Router


class _Run:
    """Drives a router with random arrivals and completions, and looks at every assignment."""

    def __init__(self, router: Router, replicas: int, rooms: list[int] | None) -> None:
        self.router = router
        self.rooms = rooms
        self.issued = 0
        self.assigned: list[int] = []
        self.held: list[list[int]] = [[] for _ in range(replicas)]

    def take(self, assignments: list[Assignment]) -> None:
        for replica, ordinals in assignments:
            assert ordinals, "an empty assignment would be an empty message"
            self.assigned += ordinals
            self.held[replica] += ordinals
        assert len(set(self.assigned)) == len(self.assigned) <= self.issued
        if self.rooms is not None:
            assert all(len(held) <= room for held, room in zip(self.held, self.rooms, strict=True))
            assert len(self.assigned) == self.issued or any(self.held), "queries wait and no replica works"

    def issue(self, count: int, random_: random.Random) -> None:
        ordinals = range(self.issued, self.issued + count)
        self.issued += count
        self.take(self.router.assign(ordinals, [random_.randint(3, 2000) for _ in ordinals]))

    def finish(self, replica: int, count: int, random_: random.Random) -> None:
        held = self.held[replica]
        random_.shuffle(held)
        done, self.held[replica] = held[:count], held[count:]
        if done:
            self.take(self.router.release(replica, done))

    def lose(self, replica: int) -> None:
        """Every query that it held must go to another one, or wait; it gets none any more."""
        held, self.held[replica] = self.held[replica], []
        self.assigned = [ordinal for ordinal in self.assigned if ordinal not in held]
        self.take(self.router.lose(replica, sorted(held)))

    def drain(self, random_: random.Random) -> None:
        while any(self.held):
            replica = random_.randrange(len(self.held))
            self.finish(replica, random_.randint(1, 5), random_)
        assert sorted(self.assigned) == list(range(self.issued)), "a query is stranded"


@given(
    seed=st.integers(0, 10**9), rooms=st.lists(st.integers(1, 9), min_size=1, max_size=5), pull=st.booleans()
)
def test_each_query_goes_to_one_replica_within_its_room_and_none_is_stranded(
    seed: int, rooms: list[int], pull: bool
) -> None:
    random_ = random.Random(seed)
    router: Router = PullRouter(rooms) if pull else PushRouter(len(rooms))
    run = _Run(router, len(rooms), rooms if pull else None)
    for _ in range(30):
        if random_.random() < 0.5:
            run.issue(random_.choice([1, 1, 2, 7, 40]), random_)
        else:
            run.finish(random_.randrange(len(rooms)), random_.randint(1, 9), random_)
        if not pull:
            assert len(run.assigned) == run.issued
    run.drain(random_)


@given(
    seed=st.integers(0, 10**9), rooms=st.lists(st.integers(1, 9), min_size=2, max_size=6), pull=st.booleans()
)
def test_what_a_lost_replica_held_goes_to_the_others_and_none_is_stranded(
    seed: int, rooms: list[int], pull: bool
) -> None:
    random_ = random.Random(seed)
    router: Router = PullRouter(rooms) if pull else PushRouter(len(rooms))
    run = _Run(router, len(rooms), rooms if pull else None)
    lost: list[int] = []
    for _ in range(40):
        if random_.random() < 0.5:
            run.issue(random_.choice([1, 1, 2, 7, 40]), random_)
        else:
            run.finish(random_.randrange(len(rooms)), random_.randint(1, 9), random_)
        living = [replica for replica in range(len(rooms)) if replica not in lost]
        if len(living) > 1 and random_.random() < 0.1:
            lost.append(random_.choice(living))
            run.lose(lost[-1])
        assert not any(run.held[replica] for replica in lost)
    run.drain(random_)


def test_pull_hands_out_in_order_and_evenly() -> None:
    router = PullRouter([3, 3])
    assert router.assign(range(10), [1] * 10) == [(0, [0, 1, 2]), (1, [3, 4, 5])]
    assert router.release(1, [3, 5]) == [(1, [6, 7])]
    assert router.release(0, [0]) == [(0, [8])]
    assert router.release(1, [4, 6, 7]) == [(1, [9])]
    assert router.release(0, [1, 2, 8]) == []
    assert router.assign([10], [1]) == [(0, [10])]


def test_pull_gives_few_queries_to_all_replicas() -> None:
    assert PullRouter([100, 100, 100]).assign(range(3), [1] * 3) == [(0, [0]), (1, [1]), (2, [2])]


def test_pull_shares_the_last_queries_by_speed() -> None:
    router = PullRouter([10, 10])
    assert router.assign(range(40), [1] * 40) == [(0, list(range(10))), (1, list(range(10, 20)))]
    assert router.release(1, [10]) == [(1, [20])]  # replica 0 has completed nothing yet: no speed
    assert router.release(0, [0, 1, 2]) == [(0, [21, 22, 23])]
    assert router.release(0, [3, 4, 5]) == [(0, [24, 25, 26])]
    # 6 to 1: of the 32 that are left, replica 1 is due 5 and holds 9
    assert router.release(1, [11]) == []
    assert router.release(0, [6, 7]) == [(0, [27, 28])]


def test_pull_gives_a_replica_with_nothing_left_one_more() -> None:
    router = PullRouter([2, 2])
    router.assign(range(6), [1] * 6)
    assert router.release(0, [0, 1]) == [(0, [4, 5])]
    assert router.release(0, [4, 5]) == []
    assert router.release(1, [2, 3]) == []


def test_push_takes_the_least_loaded_and_goes_round_on_ties() -> None:
    router = PushRouter(3)
    assert router.assign([0, 1, 2], [10, 20, 30]) == [(0, [0]), (1, [1]), (2, [2])]
    assert router.assign([3], [5]) == [(0, [3])]  # 10 in flight there
    assert router.assign([4], [1]) == [(0, [4])]  # 15 against 20 and 30
    assert router.release(2, [2]) == []
    assert router.assign([5], [1]) == [(2, [5])]
    idle = PushRouter(3)
    assert [idle.assign([n], [0])[0][0] for n in range(5)] == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("depths", [[], [0], [3, 0]])
def test_a_replica_without_room_is_a_programmers_mistake(depths: list[int]) -> None:
    with pytest.raises(AssertionError):
        PullRouter(depths)
