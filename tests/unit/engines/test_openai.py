"""OpenAIEngine against a server that answers, and one that breaks in every way a server can."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from harness_llm.core import Request
from harness_llm.engines.base import EngineFacts
from harness_llm.engines.openai import OpenAI, OpenAIEngine
from harness_llm.errors import ConfigError, EngineError
from harness_llm.testing import RecordingSink

KEY = "MY_SERVERS_KEY"
_Behave = Callable[[dict[str, Any], web.StreamResponse], Awaitable[None]]


def _event(*tokens: int, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": "x" * len(tokens), "token_ids": list(tokens), **choice}]}


async def _say(response: web.StreamResponse, *events: dict[str, Any] | str) -> None:
    for event in events:
        text = event if isinstance(event, str) else json.dumps(event)
        await response.write(f"data: {text}\n\n".encode())


async def _answers(asked: dict[str, Any], response: web.StreamResponse) -> None:
    """As many tokens as may be, one an event."""
    for place in range(asked["max_tokens"]):
        await _say(response, _event(100 + place))
    await _say(response, _event(finish_reason="length"), "[DONE]")


class _Server:
    """It answers, until the test gives it another behaviour.

    Attributes:
        asked: Bodies of requests.
        headers: Of the last request.
        closed: Requests whose stream was closed by the other side.
    """

    def __init__(self) -> None:
        self.behave: _Behave = _answers
        self.asked: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.closed = 0
        self.models: Any = {"data": [{"id": "tiny", "owned_by": "vllm", "max_model_len": 512}, {"id": "b"}]}
        self.version: Any = {"version": "1.2"}
        self.url = ""

    async def __aenter__(self) -> _Server:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._tell)
        application.router.add_post("/v1/completions", self._complete)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _tell(self, request: web.Request) -> web.Response:
        content = {"/v1/models": self.models, "/version": self.version}[request.path]
        return web.json_response(content) if content is not None else web.Response(status=404)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.headers = dict(request.headers)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            if (status := await self._refusal(body)) is not None:
                return status
            await response.prepare(request)
            await self.behave(body, response)
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            self.closed += 1
            raise
        return response

    async def _refusal(self, body: dict[str, Any]) -> web.Response | None:
        status = getattr(self.behave, "status", None)
        return None if status is None else web.Response(status=status, text="no room: try later")


def _with_engine(
    test: Callable[[OpenAIEngine, _Server, RecordingSink, EngineFacts], Awaitable[None]], **options: Any
) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), _Server() as server:
            engine, sink = _engine(server, **options), RecordingSink()
            try:
                facts = await engine.start(sink)
                server.asked.clear()
                await test(engine, server, sink, facts)
            finally:
                await engine.stop()

    asyncio.run(run())


def _engine(server: _Server, **options: Any) -> OpenAIEngine:
    given = OpenAI(base_urls=[server.url], **options)
    return OpenAIEngine(given.replica_arguments({}, 0))


def _request(number: int, least: int = 2, most: int = 3, first: bool = True) -> Request:
    return Request(number, struct.pack("<3i", 9, 8, number), least, most, first)


async def _until(sink: RecordingSink, said: int) -> None:
    while len(sink.said) < said:
        await asyncio.sleep(0.005)


def test_token_ids_go_in_and_token_ids_come_out() -> None:
    async def test(engine: OpenAIEngine, server: _Server, sink: RecordingSink, _: EngineFacts) -> None:
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
    async def test(_: OpenAIEngine, server: _Server, __: RecordingSink, facts: EngineFacts) -> None:
        assert (facts.name, facts.version) == ("openai", "server vllm 1.2, model tiny")
        assert (facts.is_simulated, facts.max_sequence_tokens, facts.max_concurrent) == (False, 512, 7)
        assert facts.resolved["url"] == server.url
        assert facts.resolved["prefix_caching"] == facts.resolved["sampling"] == "unknown"

    _with_engine(test, concurrent=7)


def test_the_model_is_the_one_that_was_named() -> None:
    async def test(engine: OpenAIEngine, server: _Server, sink: RecordingSink, _: EngineFacts) -> None:
        engine.submit([_request(1)])
        await _until(sink, 2)
        assert server.asked[0]["model"] == "b"

    _with_engine(test, model="b")


def test_the_first_token_is_not_the_first_event() -> None:
    async def test(engine: OpenAIEngine, server: _Server, sink: RecordingSink, _: EngineFacts) -> None:
        async def slowly(asked: dict[str, Any], response: web.StreamResponse) -> None:
            await response.write(b": a comment\n\nevent: ping\n\n")
            await _say(response, {"choices": [{"delta": {"role": "assistant"}}]}, {"choices": []}, _event())
            await asyncio.sleep(0.2)
            await _answers(asked, response)

        server.behave = slowly
        before = asyncio.get_running_loop().time()
        engine.submit([_request(1)])
        await _until(sink, 1)
        assert asyncio.get_running_loop().time() - before >= 0.2
        await _until(sink, 2)
        assert sink.said == [("first", 1, 100), ("finished", 1, [100, 101, 102])]

    _with_engine(test)


def _refuses(status: int) -> _Behave:
    async def behave(asked: dict[str, Any], response: web.StreamResponse) -> None: ...

    behave.status = status  # type: ignore[attr-defined]
    return behave


def _says(*events: dict[str, Any] | str) -> _Behave:
    async def behave(asked: dict[str, Any], response: web.StreamResponse) -> None:
        await _say(response, *events)

    return behave


async def _cuts(asked: dict[str, Any], response: web.StreamResponse) -> None:
    await _say(response, _event(5), _event(6))
    assert response._req is not None and response._req.transport is not None
    response._req.transport.abort()


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (_refuses(429), "HTTP 429: no room: try later"),
        (_refuses(500), "HTTP 500: no room: try later"),
        (_cuts, "Client"),  # aiohttp's ClientPayloadError or ClientOSError
        (_says(_event(5), "[DONE]"), "after 1 tokens: the stream ended without a finish_reason"),
        (_says("[DONE]"), "after 0 tokens: the stream ended without a finish_reason"),
        (_says(_event(5), _event(6)), "after 2 tokens: the stream ended without a finish_reason"),
        (_says({"choices": [{"text": "A", "finish_reason": "stop"}]}, "[DONE]"), "text without token ids"),
        (_says({"choices": [{"text": "Hello", "token_ids": None}]}, "[DONE]"), "text without token ids"),
        (_says(_event(5), {"error": {"message": "out of memory"}}), "out of memory"),
        (_says(_event(5, 6, finish_reason="abort"), "[DONE]"), "after 2 tokens: abort"),
        (_says({"choices": [{"token_ids": ["a"]}]}), "Expected `int`, got `str`"),
        (_says({"choices": [{"token_ids": [-1]}]}), "Expected `int` >= 0"),
        (_says({"choices": [{"token_ids": [2**31]}]}), "Expected `int` <= 2147483647"),
        (_says("{broken"), "DecodeError"),
        (_says(_event(5, finish_reason="stop"), "[DONE]"), "answered with 1 tokens, 2 to 3 were asked for"),
        (_says(_event(5, 6, 7, 8, finish_reason="stop")), "answered with 4 tokens, 2 to 3 were asked for"),
    ],
)  # fmt: skip
def test_a_server_that_breaks_is_a_failure_in_its_own_words_never_an_answer(
    behave: _Behave, reason: str
) -> None:
    async def test(engine: OpenAIEngine, server: _Server, sink: RecordingSink, _: EngineFacts) -> None:
        server.behave = behave
        engine.submit([_request(1)])
        while not sink.said or sink.said[-1][0] == "first":
            await asyncio.sleep(0.005)
        assert sink.said[-1][:2] == ("failed", 1) and reason in sink.said[-1][2]
        assert "finished" not in {word[0] for word in sink.said}
        server.behave = _answers
        engine.submit([_request(2)])
        while sink.said[-1][:2] != ("finished", 2):
            await asyncio.sleep(0.005)

    _with_engine(test)


def test_giving_a_request_up_closes_its_stream_and_silences_it() -> None:
    async def test(engine: OpenAIEngine, server: _Server, sink: RecordingSink, _: EngineFacts) -> None:
        async def hangs(asked: dict[str, Any], response: web.StreamResponse) -> None:
            await _say(response, _event(5))
            await asyncio.Event().wait()

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
        ({"models": None}, "lists nothing"),
        ({"models": {"data": []}}, "lists nothing"),
        ({"models": {"data": [{"id": "c"}, {"id": "d"}]}, "model": "tiny"}, "lists c, d, not tiny"),
        ({"models": {"data": [{}]}}, "KeyError"),
        ({"behave": _refuses(404)}, "a warm-up prompt was not answered: .*HTTP 404: no room"),
        ({"behave": _says({"choices": [{"text": "Hi"}]})}, "a warm-up prompt .* text without token ids"),
        ({"behave": _says(_event(1, 2, finish_reason="stop"))}, "2 tokens, 4 to 4 were asked for"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_be_measured_is_refused_at_the_start(
    broken: dict[str, Any], reason: str
) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), _Server() as server:
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
        async with asyncio.timeout(20), _Server() as server:
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

    async def test(engine: OpenAIEngine, server: _Server, _: RecordingSink, facts: EngineFacts) -> None:
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
    "url", ["a:8000", "ftp://a", "http://me:secret@a", "http://a?key=secret", "http://a b"]
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        OpenAI(base_urls=[url])


def test_no_server_at_all_is_refused() -> None:
    with pytest.raises(ValidationError):
        OpenAI(base_urls=[])
