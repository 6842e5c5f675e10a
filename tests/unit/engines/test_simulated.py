from __future__ import annotations

import asyncio
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.core import Request
from harness_llm.engines import make_engine
from harness_llm.engines.simulated import SimulatedEngine, simulated_answer
from harness_llm.testing import RecordingSink

_Log = list[tuple[str, int, float, Any]]


def _log(sink: RecordingSink) -> _Log:
    """(what, request, seconds, value) of all that the engine said."""
    return [(what, number, at, value) for (what, number, value), at in zip(sink.said, sink.at_s, strict=True)]


def _request(number: int, tokens: int = 5, first: bool = True) -> Request:
    return Request(number, struct.pack("<2i", 3, number), tokens, tokens, first)


def _run(arguments: dict[str, Any], requests: list[Request], seconds: float = 0) -> _Log:
    async def run() -> _Log:
        sink = RecordingSink()
        engine = make_engine("simulated", arguments)
        facts = await engine.start(sink)
        assert facts.is_simulated
        assert facts.resolved == arguments
        engine.submit(requests)
        await asyncio.sleep(seconds)
        engine.check()
        await engine.stop()
        seen = len(sink.said)
        await asyncio.sleep(0.02)
        assert len(sink.said) == seen, "a stopped engine says nothing"
        return _log(sink)

    return asyncio.run(run())


@given(
    prompt=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9),
    least=st.integers(1, 50),
    more=st.integers(0, 99),
)
def test_an_answer_is_predictable_and_within_its_limits(prompt: list[int], least: int, more: int) -> None:
    packed = np.array(prompt, np.int32).tobytes()
    answer = simulated_answer(packed, least, least + more)
    assert answer == simulated_answer(packed, least, least + more)
    tokens = np.frombuffer(answer, np.int32)
    assert least <= len(tokens) <= least + more
    assert (tokens > 2).all()  # no begin or end of sequence


def test_lengths_spread_over_the_whole_range() -> None:
    lengths = {len(simulated_answer(struct.pack("<i", n), 2, 9)) // 4 for n in range(200)}
    assert lengths == set(range(2, 10))


def test_a_request_without_latency_is_answered_at_once() -> None:
    log = _run({}, [_request(1), _request(2, first=False)])
    assert [(what, number) for what, number, _, _ in log] == [("first", 1), ("finished", 1), ("finished", 2)]
    assert log[1][3] == np.frombuffer(simulated_answer(_request(1).prompt, 5, 5), np.int32).tolist()
    assert log[0][3] == log[1][3][0]


def test_latency_is_first_token_and_then_each_further_one() -> None:
    log = _run({"first_token_ms": 40, "per_token_ms": 10}, [_request(1, tokens=7)], 0.3)
    (_, _, first_at, _), (_, _, finished_at, _) = log
    assert 0.04 <= first_at < 0.1
    assert 0.1 <= finished_at < 0.2


def test_no_more_than_concurrent_requests_are_worked_on() -> None:
    log = _run({"first_token_ms": 30, "concurrent": 2}, [_request(n, 2, first=False) for n in range(6)], 0.3)
    assert [number for _, number, _, _ in log] == [0, 1, 2, 3, 4, 5]
    assert [at // 0.03 for _, _, at, _ in log][::2] == pytest.approx([1, 2, 3], abs=1)
    assert log[-1][2] >= 0.09


@pytest.mark.parametrize("latency", [0, 5])
def test_each_nth_request_fails_and_says_so(latency: int) -> None:
    log = _run(
        {"fail_every": 3, "first_token_ms": latency}, [_request(n, first=False) for n in range(7)], 0.1
    )
    failed = [(number, reason) for what, number, _, reason in log if what == "failed"]
    assert failed == [(2, "simulated failure of request 3"), (5, "simulated failure of request 6")]
    assert sorted(number for what, number, _, _ in log if what == "finished") == [0, 1, 3, 4, 6]


@pytest.mark.parametrize("aborted", [[0, 1], [2, 5], [0, 4, 99], list(range(6))], ids=str)
def test_aborted_requests_say_nothing_and_leave_their_places_to_others(aborted: list[int]) -> None:
    async def run() -> _Log:
        sink = RecordingSink()
        engine = make_engine("simulated", {"first_token_ms": 30, "per_token_ms": 150, "concurrent": 2})
        await engine.start(sink)
        engine.submit([_request(number, tokens=3) for number in range(6)])
        while len(sink.said) < 2:  # the first two have their first token, and 300 ms to go
            await asyncio.sleep(0.002)
        seen = len(sink.said)
        await engine.abort(aborted)
        engine.submit([_request(7, tokens=3)])
        await asyncio.sleep(2.0)
        await engine.stop()
        assert not {number for _, number, _, _ in _log(sink)[seen:]} & set(aborted)
        return _log(sink)

    log = asyncio.run(run())
    finished = [number for what, number, _, _ in log if what == "finished"]
    assert sorted(finished) == [*sorted(set(range(6)) - set(aborted)), 7]
    if len(aborted) == 6:
        (at,) = [at for what, number, at, _ in log if (what, number) == ("finished", 7)]
        begun = max(at for what, number, at, _ in log if (what, number) in {("first", 0), ("first", 1)})
        assert at - begun < 0.33 + 0.2, "nothing of the old ones, which had 0.3 s to go, may be waited for"


def test_abort_of_nothing_changes_nothing() -> None:
    async def run() -> int:
        sink = RecordingSink()
        engine = make_engine("simulated", {"first_token_ms": 5})
        await engine.start(sink)
        engine.submit([_request(1)])
        await engine.abort([])
        await engine.abort([2])
        await asyncio.sleep(0.05)
        await engine.stop()
        return len(sink.said)

    assert asyncio.run(run()) == 2


def test_those_that_wait_take_the_places_of_aborted_ones_at_once() -> None:
    async def run() -> set[int]:
        engine = SimulatedEngine({"first_token_ms": 60_000, "concurrent": 2})
        await engine.start(RecordingSink())
        engine.submit([_request(number) for number in range(4)])
        await engine.abort([0, 1])
        begun = {entry[3].id for entry in engine._due}
        await engine.stop()
        return begun

    assert asyncio.run(run()) == {2, 3}


@pytest.mark.parametrize("aborted", [[0], [0, 1, 2], [4, 1], [3]], ids=str)
def test_what_an_abort_leaves_is_still_answered_in_order_of_its_time(aborted: list[int]) -> None:
    """Requests of very different lengths: the earliest must be due first after the abort, too."""

    async def run() -> _Log:
        sink = RecordingSink()
        engine = make_engine("simulated", {"first_token_ms": 1, "per_token_ms": 5})
        await engine.start(sink)
        engine.submit([_request(number, tokens) for number, tokens in enumerate((16, 61, 36, 26, 46, 21))])
        await asyncio.sleep(0.003)  # each has its first token, and waits for its last one
        await engine.abort(aborted)
        await asyncio.sleep(0.6)
        await engine.stop()
        return _log(sink)

    finished = [(number, at) for what, number, at, _ in asyncio.run(run()) if what == "finished"]
    left = [number for number in (0, 5, 3, 2, 4, 1) if number not in aborted]
    assert [number for number, _ in finished] == left
    late = [at - 0.001 - 0.005 * ((16, 61, 36, 26, 46, 21)[number] - 1) for number, at in finished]
    assert max(late) < 0.2
