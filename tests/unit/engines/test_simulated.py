from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_llm.core import Request
from harness_llm.engines import make_engine
from harness_llm.engines.simulated import Simulated, SimulatedEngine, simulated_answer
from harness_llm.engines.simulated_steps import Batching, Steps
from harness_llm.errors import ConfigError, EngineError
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


@pytest.mark.parametrize(
    ("batching", "said"),
    [
        ({"pauses_per_s": 100}, "pauses_per_s does nothing without pause_ms"),
        ({"weights_ms": 1e300}, "weights_ms"),
        ({"host_ms": float("inf")}, "host_ms"),
        ({"noise": 1000}, "noise"),
        ({"graphs": [512, 64]}, "graphs must ascend"),
        ({"graphs": [64, 64]}, "graphs must ascend"),
    ],
)
def test_steps_that_cannot_be_computed_or_meant_are_refused(batching: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Batching.model_validate(batching)


def test_the_longest_steps_can_be_computed() -> None:
    longest = dict.fromkeys(("weights_ms", "token_ms", "context_us", "host_ms", "request_us"), 86_400_000.0)
    batching = Batching.model_validate(
        {**longest, "noise": 1, "drift": 1000, "pauses_per_s": 1e300, "pause_ms": 5e-324}
    )
    steps = Steps(batching, 8)
    steps.add(1, prompt=100, answer=3)
    assert [np.isfinite(steps.step()[0]) for _ in range(3)] == [True] * 3 and not steps


def test_an_exception_in_its_steps_is_the_death_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Steps) -> None:
        raise ArithmeticError("of a step")

    monkeypatch.setattr(Steps, "step", fails)
    with pytest.raises(EngineError, match="cannot continue: ArithmeticError: of a step"):
        _run({"batching": {"seed": 1}}, [_request(1)], 0.01)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batching": {}, "first_token_ms": 5}, "engine.first_token_ms does nothing beside batching"),
        ({"batching": {}, "hang_after": 5}, "engine.hang_after does nothing beside batching"),
        ({"hang_replica": 1}, "engine.hang_replica does nothing without hang_after"),
        ({"speed_file": "/nonexistent"}, "engine.speed_file: speed_file /nonexistent: No such file"),
    ],
)
def test_options_that_do_nothing_are_refused_before_the_start(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"my.yaml:7: harness_config.{said}"):
        Simulated.model_validate(options).preflight({}, lambda _: "my.yaml:7")
    allowed: list[dict[str, Any]] = [{"batching": {}}, {"hang_after": 1, "hang_replica": 0}]
    for one in allowed:
        Simulated.model_validate(one).preflight({}, str)


@pytest.mark.parametrize("text", ["", "0", "1.5", "nan", "fast"])
def test_a_file_that_holds_no_speed_is_no_matter_of_a_checkpoint(tmp_path: Path, text: str) -> None:
    file = tmp_path / "speed"
    file.write_text("0.5")
    options = {"speed_file": str(file), "first_token_ms": 1}
    Simulated.model_validate(options).preflight({}, str)
    assert len(_run(options, [_request(1)], 0.05)) == 2
    file.write_text(text)
    with pytest.raises(EngineError, match=f"speed_file {file}: ") as caught:
        _run(options, [_request(1)])
    assert "how fast the engine is" in caught.value.remedy and caught.value.__cause__ is None
