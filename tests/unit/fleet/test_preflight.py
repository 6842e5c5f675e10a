"""What each replica is asked before the first test: real links and sockets, engines that answer wrongly."""

from __future__ import annotations

import asyncio
import re
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import zmq

from harness_llm.core import EventStatus
from harness_llm.datasets.table import SampleTable
from harness_llm.engines.simulated import SimulatedEngine, simulated_answer
from harness_llm.errors import EngineError, RunBroken
from harness_llm.fleet.preflight import Question, preflight, told
from harness_llm.replica.server import Server
from harness_llm.results.events import read_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from harness_llm.core import Request
    from harness_llm.results.observed import PreflightRecord

TABLE = SampleTable.from_prompts(
    "t",
    [[n, 100 + n] for n in range(20)],
    max_tokens=1000,
    min_tokens=[2 + n for n in range(20)],
    references=["short" if n == 7 else "a longer one" for n in range(20)],
)
END = 2


def _packed(tokens: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(tokens)}i", *tokens)


class _Engine(SimulatedEngine):
    """The simulated engine, with a `change` to what it says: (first token, answer, requests so far)."""

    def __init__(self, change: Callable[[int, bytes, int], tuple[int | None, bytes] | None]) -> None:
        super().__init__({})
        self._change, self._count = change, 0

    def submit(self, requests: Sequence[Request]) -> None:
        for request in requests:
            answer = simulated_answer(request.prompt, request.min_tokens, request.max_tokens)
            first = struct.unpack_from("<i", answer)[0]
            said = self._change(first, answer, self._count)
            self._count += 1
            if said is None:
                continue
            if said[0] is not None:
                self._sink.first_token(request.id, said[0])
            self._sink.finished(request.id, said[1])


class _Cold(_Engine):
    """Answers rightly, the first request after a second."""

    def submit(self, requests: Sequence[Request]) -> None:
        wait_s = 0.0 if self._count else 1.0
        asyncio.get_running_loop().call_later(wait_s, super().submit, requests)


@contextmanager
def replicas(folder: Path, *engines: SimulatedEngine) -> Iterator[list[str]]:
    """Replicas' servers on a thread of their own, at these endpoints."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    endpoints = [f"ipc://{folder}/{n}" for n in range(len(engines))]
    loop, stop, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def serve() -> None:
        sockets = []
        for engine, endpoint in zip(engines, endpoints, strict=True):
            socket = context.socket(zmq.ROUTER)
            socket.bind(endpoint)
            server = Server(engine, socket)
            await engine.start(server)
            server.serve(8)
            sockets.append(socket)
        ready.set()
        await stop.wait()
        for socket in sockets:
            loop.remove_reader(int(socket.getsockopt(zmq.FD)))
            socket.close(linger=0)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(5)
    try:
        yield endpoints
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
        context.term()


def asked(
    folder: Path,
    *engines: SimulatedEngine,
    patience_s: float = 5.0,
    cold_s: float = 5.0,
    table: SampleTable = TABLE,
    may_repeat: bool = False,
) -> PreflightRecord:
    names = [f"Offline/replica-{n}" for n in range(len(engines))]
    with replicas(folder, *engines) as endpoints:
        question = Question.of(table, {END}, may_repeat=may_repeat)
        return preflight(endpoints, names, question, folder / "preflight.npy", 8.0, patience_s, cold_s)


def _sound(first: int, answer: bytes, _: int) -> tuple[int, bytes]:
    return first, answer


def test_a_few_samples_from_all_over_and_the_one_that_ends_soonest() -> None:
    question = Question.of(TABLE, ())
    assert question.samples == (7, 0, 9)
    assert question.table.max_tokens.tolist() == [32] * 3
    for place, sample in enumerate(question.samples):
        assert question.table.prompt(place).tolist() == TABLE.prompt(sample).tolist()
        assert question.table.min_tokens[place] == TABLE.min_tokens[sample]


def test_each_replica_answers_each_sample_alone_and_in_a_batch(tmp_path: Path) -> None:
    record = asked(tmp_path, _Engine(_sound), _Engine(_sound))
    assert (record.replicas, len(record.samples), record.differ_in_a_batch) == (2, 3, (0, 0))
    rows = read_events(tmp_path / "preflight.npy")
    assert len(rows) == 2 * 2 * 3 and (rows["status"] == EventStatus.FINISHED).all()
    assert record.tokens == rows["tokens"].sum()
    assert sorted(rows["replica"].tolist()) == [0] * 6 + [1] * 6
    assert record.seconds < 3
    assert "3 samples asked of 2 replicas" in told(record) and "other tokens" not in told(record)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (
            lambda first, answer, n: (first + 1, answer),
            "was reported as its first, but its answer begins with",
        ),
        (lambda first, answer, n: (None, answer), "in state issued"),
        (lambda first, answer, n: (first, b""), "its answer has 0 tokens"),
        (lambda first, answer, n: (first, answer[:4]), "its answer has 1 token,"),
        (lambda first, answer, n: (first, answer[:-1]), "which are no whole tokens"),
        (lambda first, answer, n: (first, answer * 40), "tokens, "),
        (
            lambda first, answer, n: (first, answer[:-8] + _packed([END, END])),
            "an end token before its end: 2 at",
        ),
        (lambda first, answer, n: (END, _packed([END, 7, 8] * 8)), "an end token before its end: 2 at 1"),
        (lambda first, answer, n: (-1, _packed([-1] * (len(answer) // 4))), "holds -1, which is no token id"),
        (lambda first, answer, n: None, "neither a token nor an answer came within 0.5 s"),
        (
            lambda first, answer, n: _sound(first, answer, n) if n < 4 else None,
            "neither a token nor an answer",
        ),
    ],
)
def test_a_replica_whose_answers_cannot_be_counted_is_named_with_the_sample(
    tmp_path: Path, change: Any, seen: str
) -> None:
    with pytest.raises(RunBroken, match="sample") as raised:
        asked(tmp_path, _Engine(_sound), _Engine(change), patience_s=0.5, cold_s=0.5)
    assert seen in str(raised.value)
    assert re.search(r"replica.1\b", str(raised.value))


def test_a_replica_that_repeats_a_single_token_is_refused(tmp_path: Path) -> None:
    zeros = _Engine(lambda _first, _answer, _: (0, bytes(4 * 12)))
    with pytest.raises(
        EngineError, match="replica-1: before the first test, each of 6 answers repeated token 0 alone"
    ):
        asked(tmp_path, _Engine(_sound), zeros)
    assert asked(tmp_path, _Engine(_sound), zeros, may_repeat=True).replicas == 2


def test_short_answers_may_be_alike(tmp_path: Path) -> None:
    short = SampleTable.from_prompts("t", [[n] for n in range(9)], max_tokens=3, min_tokens=2)
    asked(tmp_path, _Engine(lambda _first, _answer, _: (0, bytes(8))), table=short)


def test_the_first_answer_of_a_cold_engine_may_take_longer_than_any_other(tmp_path: Path) -> None:
    assert asked(tmp_path, _Cold(_sound), patience_s=0.5).seconds > 1
    with pytest.raises(EngineError, match=r"within 0.5 s\n"):
        asked(tmp_path, _Cold(_sound), patience_s=0.5, cold_s=0.5)


def test_an_engine_that_fails_a_sample_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="replica 0: the engine failed on sample"):
        asked(tmp_path, SimulatedEngine({"fail_every": 2}))


def test_other_tokens_in_a_batch_are_said_and_let_pass(tmp_path: Path) -> None:
    def rounded(first: int, answer: bytes, count: int) -> tuple[int, bytes]:
        return (first, answer) if count < 4 else (first, answer[:-4] + _packed([9]))

    record = asked(tmp_path, _Engine(_sound), _Engine(rounded))
    assert record.differ_in_a_batch == (0, 2)
    assert "other tokens in a batch than alone for replica 1: 2 of 3 samples" in told(record)


def test_an_end_token_at_the_end_is_as_it_should_be(tmp_path: Path) -> None:
    record = asked(tmp_path, _Engine(lambda first, answer, n: (first, answer[:-4] + _packed([END]))))
    assert record.differ_in_a_batch == (0,)
