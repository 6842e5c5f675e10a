"""TaskEngine: the life of a request, whatever generates its tokens."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from typing import Any

import pytest

from harness_llm.core import Request
from harness_llm.engines.base import CutShort, EngineFacts, TaskEngine
from harness_llm.errors import EngineError
from harness_llm.testing import RecordingSink


class _Engine(TaskEngine):
    """Answers with what the test puts into its queue: tokens, an exception, or None for the end."""

    name = "scripted"

    def __init__(self) -> None:
        super().__init__()
        self.script: asyncio.Queue[Any] = asyncio.Queue()
        self.given_up: list[int] = []
        self.let_go_of: list[int] = []
        self.is_unloaded = False
        self.warm: list[int] | Exception = [3] * 4
        self.longest: int | None = None

    async def load(self) -> EngineFacts:
        return EngineFacts(
            "scripted", "1", is_simulated=False, max_sequence_tokens=self.longest, max_concurrent=1
        )

    async def generate(self, request: Request) -> AsyncIterator[Iterable[int]]:
        if request.id < 0:  # a warm-up prompt
            if isinstance(self.warm, Exception):
                raise self.warm
            yield self.warm
            return
        try:
            while (item := await self.script.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        except asyncio.CancelledError:
            self.given_up.append(request.id)
            raise

    async def let_go(self, request_ids: Collection[int]) -> None:
        self.let_go_of += request_ids

    async def unload(self) -> None:
        self.is_unloaded = True


def _with_engine(test: Callable[[_Engine, RecordingSink], Awaitable[None]]) -> None:
    async def run() -> None:
        engine, sink = _Engine(), RecordingSink()
        assert (await engine.start(sink)).name == "scripted"
        await test(engine, sink)

    asyncio.run(run())


def _request(number: int, first: bool = True) -> Request:
    return Request(number, struct.pack("<i", 9), 2, 9, first)


async def _say(engine: _Engine, *items: Any) -> None:
    for item in items:
        engine.script.put_nowait(item)
    for _ in range(10):
        await asyncio.sleep(0)


def test_the_first_token_is_the_first_token_and_not_the_first_word_of_the_engine() -> None:
    async def test(engine: _Engine, sink: RecordingSink) -> None:
        engine.submit([_request(1)])
        await _say(engine, [], [])
        assert sink.said == []
        await _say(engine, [7, 8], [], [9])
        assert sink.said == [("first", 1, 7)]
        await _say(engine, None)
        assert sink.said[1:] == [("finished", 1, [7, 8, 9])]

    _with_engine(test)


def test_a_first_token_is_reported_only_where_it_is_wanted() -> None:
    async def test(engine: _Engine, sink: RecordingSink) -> None:
        engine.submit([_request(1, first=False)])
        await _say(engine, [7], [8], None)
        assert sink.said == [("finished", 1, [7, 8])]

    _with_engine(test)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CutShort("out of memory"), "scripted cut the answer short after 2 tokens: out of memory"),
        (ValueError("too long"), "ValueError: too long"),
        (OverflowError("no int32"), "OverflowError: no int32"),
    ],
)
def test_what_keeps_an_answer_from_its_end_is_a_failure(error: Exception, reason: str) -> None:
    async def test(engine: _Engine, sink: RecordingSink) -> None:
        engine.submit([_request(1)])
        await _say(engine, [7, 8], error)
        assert sink.said == [("first", 1, 7), ("failed", 1, reason)]

    _with_engine(test)


def test_a_token_that_is_no_int32_is_a_failure_not_an_answer() -> None:
    async def test(engine: _Engine, sink: RecordingSink) -> None:
        engine.submit([_request(1)])
        await _say(engine, [7], [2**31], None)
        assert [word[0] for word in sink.said] == ["first", "failed"]

    _with_engine(test)


def test_abort_tells_the_engine_waits_for_it_and_silences_the_requests() -> None:
    async def test(engine: _Engine, sink: RecordingSink) -> None:
        engine.submit([_request(1), _request(2)])
        await _say(engine)
        await engine.abort([1, 77])
        assert engine.given_up == [1] and engine.let_go_of == [1, 77]
        await _say(engine, [7, 8], None)
        assert sink.said == [("first", 2, 7), ("finished", 2, [7, 8])]

    _with_engine(test)


def test_an_engine_that_never_lets_go_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(engine: _Engine, sink: RecordingSink) -> None:
        async def never(_: Collection[int]) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(engine, "let_go", never)
        monkeypatch.setattr(_Engine, "let_go_s", 0.05)
        with pytest.raises(EngineError, match="scripted still works on aborted requests after 0.05 s"):
            await engine.abort([1])

    _with_engine(test)


def test_stop_gives_everything_up_and_then_unloads() -> None:
    async def test(engine: _Engine, sink: RecordingSink) -> None:
        engine.submit([_request(1), _request(2)])
        await _say(engine)
        await engine.stop()
        assert sorted(engine.given_up) == [1, 2] and engine.is_unloaded
        assert sink.said == []

    _with_engine(test)


def test_an_engine_that_dies_while_it_warms_up_never_counts_as_ready() -> None:
    async def run() -> None:
        engine = _Engine()
        engine.warm = EngineError("the server is gone")
        with pytest.raises(EngineError, match="the server is gone"):
            await engine.start(RecordingSink())

    asyncio.run(run())


def test_an_engine_that_does_not_answer_warm_up_prompts_is_refused() -> None:
    async def run() -> None:
        engine = _Engine()
        engine.warm = [3]
        with pytest.raises(EngineError, match="a warm-up prompt was not answered: .* 1 token, 4 to 4 were"):
            await engine.start(RecordingSink())
        engine.longest = 19  # shorter than the shortest prompt and its answer: there is none to ask
        await engine.start(RecordingSink())

    asyncio.run(run())


def test_what_keeps_an_engine_from_loading_is_said_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(error: Exception, named: str) -> None:
        async def load(_: _Engine) -> EngineFacts:
            raise error

        monkeypatch.setattr(_Engine, "load", load)
        with pytest.raises(EngineError, match=named):
            await _Engine().start(RecordingSink())

    asyncio.run(test(EngineError("no such argument"), "^no such argument"))
    asyncio.run(test(MemoryError("too big"), "^scripted did not start: MemoryError: too big"))


@pytest.mark.parametrize(("tokens", "said"), [(1, "1 token"), (10, "10 tokens")])
def test_an_answer_of_another_length_than_asked_for_is_a_failure(tokens: int, said: str) -> None:
    async def test(engine: _Engine, sink: RecordingSink) -> None:
        engine.submit([_request(1)])
        await _say(engine, [7] * tokens, None)
        reason = f"scripted answered with {said}, 2 to 9 were asked for"
        assert sink.said[1:] == [("failed", 1, reason)]

    _with_engine(test)
