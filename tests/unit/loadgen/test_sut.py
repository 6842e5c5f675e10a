from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.core import EventStatus
from harness_llm.datasets.table import SampleTable
from harness_llm.engines.simulated import simulated_answer
from harness_llm.errors import EngineError, ProtocolError, ReplicaLost
from harness_llm.loadgen.ledger import Ledger
from harness_llm.loadgen.router import PullRouter, PushRouter
from harness_llm.loadgen.sut import Sut
from harness_llm.results.events import read_events
from harness_llm.testing import FakeLink, FakeLoadgen
from harness_llm.transport.wire import Events

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness_llm.core import Request

TABLE = SampleTable.from_prompts("t", [[n, n + 1, n + 2] for n in range(20)], max_tokens=9, min_tokens=2)


def _answer(request: Request) -> bytes:
    return simulated_answer(request.prompt, request.min_tokens, request.max_tokens)


class _World:
    """A Sut between a fake LoadGen and fake replicas, driven at random."""

    def __init__(self, folder: str, seed: int, *, timed: bool, pull: bool, replicas: int) -> None:
        self.random = random.Random(seed)
        self.timed = timed
        self.path = Path(folder) / "events.npy"
        self.loadgen = FakeLoadgen()
        self.begun: set[int] = set()
        self.links = [FakeLink(index) for index in range(replicas)]
        self.ledger = Ledger(self.path, capacity=4)
        self.fatal: list[BaseException] = []
        self.lost: dict[int, set[int]] = {}
        self.sut = Sut(
            table=TABLE,
            links=self.links,
            router=PullRouter([3] * replicas) if pull else PushRouter(replicas),
            ledger=self.ledger,
            reporter=self.loadgen,
            reports_first_tokens=timed,
            on_fatal=self.fatal.append,
            on_lost=lambda replica, error: None,
        )

    def issue(self, count: int) -> None:
        samples = [self.random.randrange(len(TABLE)) for _ in range(count)]
        self.sut.issue(self.loadgen.draw(samples), samples)
        assert not self.fatal

    def handle(self, link: FakeLink, events: Events) -> None:
        self.sut.handle(link.index, events)

    def act(self) -> None:
        """One message of one replica: some first tokens, some answers, in any order, perhaps none."""
        link = self.random.choice(self.links)
        fresh = [o for o in link.asked if o not in self.begun]
        self.random.shuffle(fresh)
        first = fresh[: self.random.randint(0, 3)]
        self.begun.update(first)
        able = [o for o in link.asked if o in self.begun or not self.timed]
        self.random.shuffle(able)
        done = able[: self.random.randint(0, 3)]
        answers = [_answer(link.asked.pop(o)) for o in done]
        # In Offline nobody asks for first tokens; a replica that sends them all the same does no harm.
        self.handle(link, Events(0, 0, first, [7] * len(first), done, answers, []))

    def lose(self) -> None:
        """One replica dies, perhaps with words on their way; one is left."""
        if len(self.links) == 1:
            return
        link = self.links.pop(self.random.randrange(len(self.links)))
        self.sut.go_on_without(link.index, "died")
        self.begun -= link.asked.keys()
        late = list(link.asked)
        self.handle(link, Events(0, 0, late, [7] * len(late), late, [b"abcdefgh"] * len(late), [(0, "x")]))
        self.lost[link.index] = set(late)

    def finish_all(self) -> None:
        for _ in range(100_000):
            if not any(link.asked for link in self.links):
                return
            self.act()
        raise AssertionError("queries are left")

    def expect_each_answered_once(self, count: int) -> None:
        """LoadGen heard of every sample once, with its own answer, and of both latencies where timed."""
        loadgen, timed = self.loadgen, self.timed
        assert len(loadgen.issued) == count and loadgen.complete.keys() == loadgen.issued.keys()
        for loadgen_id, sample in loadgen.issued.items():
            assert loadgen.complete[loadgen_id] == simulated_answer(TABLE.prompt(sample).tobytes(), 2, 9)
        assert loadgen.first.keys() == (loadgen.issued.keys() if timed else set())
        ttft, tpot = self.sut.take_latencies()
        assert (len(ttft) // 4, len(tpot) // 4) == ((count, count) if timed else (0, 0))


@given(
    seed=st.integers(0, 10**9),
    timed=st.booleans(),
    pull=st.booleans(),
    replicas=st.integers(1, 4),
    batches=st.lists(st.integers(1, 30), min_size=1, max_size=6),
)
def test_every_sample_completes_exactly_once_under_any_interleaving(
    seed: int, timed: bool, pull: bool, replicas: int, batches: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = _World(folder, seed, timed=timed, pull=pull, replicas=replicas)
        for batch in batches:
            world.issue(batch)
            for _ in range(world.random.randint(0, 6)):
                world.act()
        world.finish_all()
        loadgen = world.loadgen
        world.expect_each_answered_once(sum(batches))
        assert Counter(o for link in world.links for o in link.ever) == Counter(range(sum(batches)))
        assert world.ledger.issued == world.ledger.finished
        assert world.sut.take_latencies() == (b"", b"")
        world.ledger.close()
        events = read_events(world.path)
        assert (events["status"] == EventStatus.FINISHED).all()
        assert events["sample"].tolist() == list(loadgen.issued.values())
        assert (events["tokens"] * 4).tolist() == [len(loadgen.complete[i]) for i in loadgen.issued]
        assert (events["first_token_ns"] > 0).all() == timed


@given(
    seed=st.integers(0, 10**9),
    timed=st.booleans(),
    pull=st.booleans(),
    replicas=st.integers(1, 16),
    batches=st.lists(st.integers(1, 60), min_size=1, max_size=6),
)
def test_every_sample_completes_exactly_once_whichever_replicas_die(
    seed: int, timed: bool, pull: bool, replicas: int, batches: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = _World(folder, seed, timed=timed, pull=pull, replicas=replicas)
        for batch in batches:
            world.issue(batch)
            for _ in range(world.random.randint(0, 20)):
                world.act()
                if world.random.random() < 0.3:
                    world.lose()
        world.finish_all()
        world.expect_each_answered_once(sum(batches))
        assert {it.replica: it.redispatched for it in world.sut.survived} == {
            replica: len(open_) for replica, open_ in world.lost.items()
        }
        assert not any(it.changed_first_tokens for it in world.sut.survived)
        world.ledger.close()
        events = read_events(world.path)
        assert (events["status"] == EventStatus.FINISHED).all()
        last = max(world.lost, default=None)
        assert last is None or all(events["replica"][o] != last for o in world.lost[last])


def test_a_first_token_that_comes_again_is_not_reported_again_and_a_changed_one_is_counted(
    tmp_path: Path,
) -> None:
    world = _World(str(tmp_path), 3, timed=True, pull=False, replicas=2)
    world.issue(2)
    dead, other = world.links
    (ordinal,), (its_own,) = dead.asked, other.asked
    world.handle(dead, Events(0, 0, [ordinal], [7], [], [], []))
    issued = read_events(world.path)["first_token_ns"][ordinal]
    world.sut.go_on_without(dead.index, "died")
    assert list(other.asked) == [its_own, ordinal]
    answer = _answer(other.asked[ordinal])
    with pytest.raises(ProtocolError, match="answer for query"):  # its first token is due again
        world.handle(other, Events(0, 0, [], [], [ordinal], [answer], []))
    world.handle(other, Events(0, 0, [its_own, ordinal], [7, 8], [ordinal], [answer], []))
    assert list(world.loadgen.first.values()) == [7, 7]
    assert list(world.loadgen.complete.values()) == [answer]
    row = read_events(world.path)[ordinal]
    assert row["first_token_ns"] == issued and row["replica"] == other.index
    assert [(it.redispatched, it.changed_first_tokens) for it in world.sut.survived] == [(1, 1)]
    with pytest.raises(ReplicaLost, match="it too"):
        world.sut.go_on_without(other.index, "it too")
    world.ledger.close()


_FAULTS: dict[str, Callable[[int, int], Events]] = {
    "answer doubled": lambda known, _: Events(0, 0, [], [], [known], [b"abcdefgh"], []),
    "answer doubled within a message": lambda _, open_: Events(
        0, 0, [], [], [open_] * 2, [b"abcdefgh"] * 2, []
    ),
    "first token doubled within a message": lambda _, open_: Events(0, 0, [open_] * 2, [1, 1], [], [], []),
    "first token after the answer": lambda known, _: Events(0, 0, [known], [1], [], [], []),
    "answer to nothing asked": lambda _, __: Events(0, 0, [], [], [10**6], [b"abcdefgh"], []),
    "first token of nothing asked": lambda _, __: Events(0, 0, [10**6], [1], [], [], []),
    "negative query": lambda _, __: Events(0, 0, [-1], [1], [-1], [b"abcdefgh"], []),
    "first token lost": lambda _, open_: Events(0, 0, [], [], [open_], [b"abcdefgh"], []),
    "failure of what is complete": lambda known, _: Events(0, 0, [], [], [], [], [(known, "late")]),
    "failure of nothing asked": lambda _, __: Events(0, 0, [], [], [], [], [(10**6, "lost")]),
}


@pytest.mark.parametrize("fault", _FAULTS)
@pytest.mark.parametrize("pull", [True, False], ids=["pull", "push"])
def test_a_lost_or_doubled_event_never_reaches_loadgen(tmp_path: Path, fault: str, pull: bool) -> None:
    world = _World(str(tmp_path), 3, timed=True, pull=pull, replicas=2)
    world.issue(6)
    link = world.links[0]
    known, open_ = list(link.asked)[:2]
    answer = _answer(link.asked.pop(known))
    world.handle(link, Events(0, 0, [known], [7], [known], [answer], []))
    first, complete = dict(world.loadgen.first), dict(world.loadgen.complete)
    with pytest.raises(ProtocolError, match="replica 0"):
        world.handle(link, _FAULTS[fault](known, open_))
    assert (world.loadgen.first, world.loadgen.complete) == (first, complete)
    world.ledger.close()


@pytest.mark.parametrize("pull", [True, False], ids=["pull", "push"])
def test_an_answer_of_another_replica_never_reaches_loadgen(tmp_path: Path, pull: bool) -> None:
    world = _World(str(tmp_path), 3, timed=False, pull=pull, replicas=2)
    world.issue(6)
    of_one = next(iter(world.links[1].asked))
    answer = _answer(world.links[1].asked[of_one])
    with pytest.raises(
        ProtocolError, match=f"replica 0: answered query {of_one}, which was sent to replica 1"
    ):
        world.handle(world.links[0], Events(0, 0, [], [], [of_one], [answer], []))
    assert not world.loadgen.complete
    world.ledger.close()


def test_a_query_that_waits_for_a_replica_can_be_answered_by_none(tmp_path: Path) -> None:
    world = _World(str(tmp_path), 3, timed=False, pull=True, replicas=1)
    world.issue(5)  # the one replica takes 3
    assert list(world.links[0].asked) == [0, 1, 2]
    with pytest.raises(ProtocolError, match="query 4, which was sent to no replica"):
        world.handle(world.links[0], Events(0, 0, [], [], [4], [b"abcdefgh"], []))
    world.ledger.close()


def test_a_failure_ends_the_test_by_name_after_the_good_answers_of_its_message(tmp_path: Path) -> None:
    world = _World(str(tmp_path), 3, timed=False, pull=True, replicas=1)
    world.issue(3)
    asked = world.links[0].asked
    events = Events(0, 0, [], [], [0], [_answer(asked[0])], [(1, "out of memory"), (2, "too")])
    sample = list(world.loadgen.issued.values())[1]
    with pytest.raises(EngineError, match=rf"failed on sample {sample} \(2 .*\): out of memory"):
        world.handle(world.links[0], events)
    assert list(world.loadgen.complete) == list(world.loadgen.issued)[:1]
    assert read_events(world.path)["status"].tolist() == [3, 4, 4]
    world.ledger.close()


def test_an_error_in_loadgens_callback_is_handed_on_not_raised(tmp_path: Path) -> None:
    world = _World(str(tmp_path), 3, timed=False, pull=True, replicas=1)
    world.sut.issue(world.loadgen.draw([10**6]), [10**6])  # no such sample
    assert [type(error) for error in world.fatal] == [IndexError]
    world.ledger.close()
