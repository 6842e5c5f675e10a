"""OpenAIEngine against a server that answers, and one that breaks in every way a server can."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from openai_server import Behave, Server, answers, cuts, event, hangs, refuses, say, says
from pydantic import ValidationError

from harness_llm.core import Request
from harness_llm.engines.base import EngineFacts
from harness_llm.engines.openai import OpenAI, OpenAIEngine
from harness_llm.errors import ConfigError, EngineError
from harness_llm.testing import RecordingSink

KEY = "MY_SERVERS_KEY"


def _with_engine(
    test: Callable[[OpenAIEngine, Server, RecordingSink, EngineFacts], Awaitable[None]], **options: Any
) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), Server() as server:
            engine, sink = _engine(server, **options), RecordingSink()
            try:
                facts = await engine.start(sink)
                server.asked.clear()
                await test(engine, server, sink, facts)
            finally:
                await engine.stop()

    asyncio.run(run())


def _engine(server: Server, **options: Any) -> OpenAIEngine:
    given = OpenAI(base_urls=[server.url], **options)
    return OpenAIEngine(given.replica_arguments({}, 0))


def _request(number: int, least: int = 2, most: int = 3, first: bool = True) -> Request:
    return Request(number, struct.pack("<3i", 9, 8, number), least, most, first)


async def _until(sink: RecordingSink, said: int) -> None:
    while len(sink.said) < said:
        await asyncio.sleep(0.005)


def test_token_ids_go_in_and_token_ids_come_out() -> None:
    async def test(engine: OpenAIEngine, server: Server, sink: RecordingSink, _: EngineFacts) -> None:
        engine.submit([_request(1), _request(2, most=4, first=False)])
        await _until(sink, 3)
        assert ("first", 1, 100) in sink.said and ("finished", 1, [100, 101, 102]) in sink.said
        assert ("finished", 2, [100, 101, 102, 103]) in sink.said
        (body,) = (body for body in server.asked if body["prompt"] == [9, 8, 1])
        assert body == {
            "model": "tiny", "prompt": [9, 8, 1], "min_tokens": 2, "max_tokens": 3, "temperature": 0,
            "stream": True, "return_token_ids": True,
        }  # fmt: skip

    _with_engine(test)


def test_it_says_what_the_server_is_and_that_the_rest_is_unknown() -> None:
    async def test(_: OpenAIEngine, server: Server, __: RecordingSink, facts: EngineFacts) -> None:
        assert (facts.name, facts.version) == ("openai", "server vllm 1.2, model tiny")
        assert (facts.is_simulated, facts.max_sequence_tokens, facts.max_concurrent) == (False, 512, 7)
        assert facts.resolved["url"] == server.url
        assert facts.resolved["prefix_caching"] == facts.resolved["sampling"] == "unknown"

    _with_engine(test, concurrent=7)


def test_the_model_is_the_one_that_was_named() -> None:
    async def test(engine: OpenAIEngine, server: Server, sink: RecordingSink, _: EngineFacts) -> None:
        engine.submit([_request(1)])
        await _until(sink, 2)
        assert server.asked[0]["model"] == "b"

    _with_engine(test, model="b")


def test_the_first_token_is_not_the_firstevent() -> None:
    async def test(engine: OpenAIEngine, server: Server, sink: RecordingSink, _: EngineFacts) -> None:
        async def slowly(asked: dict[str, Any], response: web.StreamResponse) -> None:
            await response.write(b": a comment\n\nevent: ping\n\n")
            await say(response, {"choices": [{"delta": {"role": "assistant"}}]}, {"choices": []}, event())
            await asyncio.sleep(0.2)
            await answers(asked, response)

        server.behave = slowly
        before = asyncio.get_running_loop().time()
        engine.submit([_request(1)])
        await _until(sink, 1)
        assert asyncio.get_running_loop().time() - before >= 0.2
        await _until(sink, 2)
        assert sink.said == [("first", 1, 100), ("finished", 1, [100, 101, 102])]

    _with_engine(test)


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (refuses(429), "HTTP 429: no room: try later"),
        (refuses(500), "HTTP 500: no room: try later"),
        (cuts, "Client"),  # aiohttp's ClientPayloadError or ClientOSError
        (says(event(5), "[DONE]"), "after 1 token: the stream ended without a finish_reason"),
        (says("[DONE]"), "after 0 tokens: the stream ended without a finish_reason"),
        (says(event(5), event(6)), "after 2 tokens: the stream ended without a finish_reason"),
        (says({"choices": [{"text": "A", "finish_reason": "stop"}]}, "[DONE]"), "text without token ids"),
        (says({"choices": [{"text": "Hello", "token_ids": None}]}, "[DONE]"), "text without token ids"),
        (says(event(5), {"error": {"message": "out of memory"}}), "out of memory"),
        (says(event(5, 6, finish_reason="abort"), "[DONE]"), "after 2 tokens: abort"),
        (says({"choices": [{"token_ids": ["a"]}]}), "Expected `int`, got `str`"),
        (says({"choices": [{"token_ids": [-1]}]}), "Expected `int` >= 0"),
        (says({"choices": [{"token_ids": [2**31]}]}), "Expected `int` <= 2147483647"),
        (says("{broken"), "DecodeError"),
        (says(event(5, finish_reason="stop"), "[DONE]"), "answered with 1 token, 2 to 3 were asked for"),
        (says(event(5, 6, 7, 8, finish_reason="stop")), "answered with 4 tokens, 2 to 3 were asked for"),
    ],
)  # fmt: skip
def test_a_server_that_breaks_is_a_failure_in_its_own_words_never_an_answer(
    behave: Behave, reason: str
) -> None:
    async def test(engine: OpenAIEngine, server: Server, sink: RecordingSink, _: EngineFacts) -> None:
        server.behave = behave
        engine.submit([_request(1)])
        while not sink.said or sink.said[-1][0] == "first":
            await asyncio.sleep(0.005)
        assert sink.said[-1][:2] == ("failed", 1) and reason in sink.said[-1][2]
        assert "finished" not in {word[0] for word in sink.said}
        server.behave = answers
        engine.submit([_request(2)])
        while sink.said[-1][:2] != ("finished", 2):
            await asyncio.sleep(0.005)

    _with_engine(test)


def test_giving_a_request_up_closes_its_stream_and_silences_it() -> None:
    async def test(engine: OpenAIEngine, server: Server, sink: RecordingSink, _: EngineFacts) -> None:
        server.behave = hangs
        engine.submit([_request(1)])
        await _until(sink, 1)
        await engine.abort([1])
        while not server.closed:
            await asyncio.sleep(0.005)
        assert sink.said == [("first", 1, 5)]

    _with_engine(test)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"models": None}, "names no model: HTTP 404"),
        ({"models": {"data": []}}, "names no model: HTTP 200"),
        ({"models": {"data": [{"id": "c"}, {"id": "d"}]}, "model": "tiny"}, "lists c, d, not tiny"),
        ({"models": {"data": [{}]}}, "KeyError"),
        ({"behave": refuses(404)}, "a warm-up prompt was not answered: .*HTTP 404: no room"),
        ({"behave": says({"choices": [{"text": "Hi"}]})}, "a warm-up prompt .* text without token ids"),
        ({"behave": says(event(1, 2, finish_reason="stop"))}, "2 tokens, 4 to 4 were asked for"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_be_measured_is_refused_at_the_start(
    broken: dict[str, Any], reason: str
) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), Server() as server:
            model = broken.pop("model", None)
            for name, value in broken.items():
                setattr(server, name, value)
            engine = _engine(server, model=model)
            with pytest.raises(EngineError, match=reason):
                await engine.start(RecordingSink())
            await engine.stop()

    asyncio.run(run())


def test_no_server_is_an_error_with_its_address() -> None:
    async def run() -> None:
        engine = OpenAIEngine(OpenAI(base_urls=["http://127.0.0.1:9"]).replica_arguments({}, 0))
        with pytest.raises(EngineError, match=r"the server did not start: .*127\.0\.0\.1:9"):
            await engine.start(RecordingSink())
        await engine.stop()

    asyncio.run(run())


def test_a_server_without_a_version_is_of_unknown_version() -> None:
    async def run() -> None:
        async with asyncio.timeout(20), Server() as server:
            server.version = None
            engine = _engine(server)
            assert (
                await engine.start(RecordingSink())
            ).version == "server vllm of unknown version, model tiny"
            await engine.stop()

    asyncio.run(run())


def test_the_api_key_is_taken_from_the_environment_and_written_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY, "secret")

    async def test(engine: OpenAIEngine, server: Server, _: RecordingSink, facts: EngineFacts) -> None:
        assert server.headers["Authorization"] == "Bearer secret"
        assert "secret" not in repr(facts) + repr(engine._options)

    _with_engine(test, api_key_env=KEY)


def test_a_key_that_is_not_set_is_refused_before_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    kind = OpenAI(base_urls=["http://a"], api_key_env=KEY)
    with pytest.raises(ConfigError, match=f"my.yaml:7: .*api_key_env names the variable {KEY}"):
        kind.preflight({}, lambda _: "my.yaml:7")
    monkeypatch.setenv(KEY, "secret")
    kind.preflight({}, str)


def test_each_server_is_a_replica_of_its_own() -> None:
    kind = OpenAI(base_urls=["http://a:1", "https://b/v1/"])
    assert kind.replicas == 2
    assert [OpenAIEngine(kind.replica_arguments({}, n))._url for n in (0, 1)] == ["http://a:1", "https://b"]


@pytest.mark.parametrize(
    "url", ["a:8000", "ftp://a", "http://me:" + "secret@a", "http://a?key=secret", "http://a b"]
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        OpenAI(base_urls=[url])


def test_no_server_at_all_is_refused() -> None:
    with pytest.raises(ValidationError):
        OpenAI(base_urls=[])


def test_a_server_that_is_gone_is_a_dead_engine_and_no_failed_sample() -> None:
    async def test(engine: OpenAIEngine, server: Server, sink: RecordingSink, _: EngineFacts) -> None:
        server.behave = hangs
        engine.check()
        engine.submit([_request(1)])
        await _until(sink, 1)
        await server.__aexit__()
        engine.submit([_request(2)])
        while engine._tasks:
            await asyncio.sleep(0.005)
        assert [what for what, *_ in sink.said] == ["first"]
        with pytest.raises(EngineError, match="cannot be reached any more"):
            engine.check()

    _with_engine(test)
