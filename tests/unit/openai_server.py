"""A small OpenAI-compatible server for tests: it answers, until a test tells it how to break."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from aiohttp import web

Behave = Callable[[dict[str, Any], web.StreamResponse], Awaitable[None]]


def event(*tokens: int, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": "x" * len(tokens), "token_ids": list(tokens), **choice}]}


async def say(response: web.StreamResponse, *events: dict[str, Any] | str) -> None:
    for event in events:
        text = event if isinstance(event, str) else json.dumps(event)
        await response.write(f"data: {text}\n\n".encode())


async def answers(asked: dict[str, Any], response: web.StreamResponse) -> None:
    """As many tokens as may be, one an event."""
    for place in range(asked["max_tokens"]):
        await say(response, event(100 + place))
    await say(response, event(finish_reason="length"), "[DONE]")


class Server:
    """It answers, until the test gives it another behaviour.

    Attributes:
        asked: Bodies of requests.
        headers: Of the last request.
        answers_warm_ups: Whether prompts of an engine's start are answered, however it behaves.
        answers_first: So many requests are answered, warm-up apart, before it behaves as told.
        closed: Requests whose stream was closed by the other side.
    """

    def __init__(self) -> None:
        self.behave: Behave = answers
        self.asked: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.closed = 0
        self.answers_warm_ups = False
        self.answers_first = 0
        self.models: Any = {"data": [{"id": "tiny", "owned_by": "vllm", "max_model_len": 512}, {"id": "b"}]}
        self.version: Any = {"version": "1.2"}
        self.url = ""

    async def __aenter__(self) -> Self:
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

    def _next_behaviour(self) -> Behave:
        self.answers_first -= 1
        return answers if self.answers_first >= 0 else self.behave

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.headers = dict(request.headers)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            is_warm_up = len(set(body["prompt"])) == 1
            behave = answers if self.answers_warm_ups and is_warm_up else self._next_behaviour()
            if (status := getattr(behave, "status", None)) is not None:
                return web.Response(status=status, text="no room: try later")
            await response.prepare(request)
            await behave(body, response)
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            self.closed += 1
            raise
        return response


def refuses(status: int) -> Behave:
    """Every request gets this status."""

    async def behave(asked: dict[str, Any], response: web.StreamResponse) -> None: ...

    behave.status = status  # type: ignore[attr-defined]
    return behave


def says(*events: dict[str, Any] | str) -> Behave:
    """Every answer is these events."""

    async def behave(asked: dict[str, Any], response: web.StreamResponse) -> None:
        await say(response, *events)

    return behave


async def cuts(asked: dict[str, Any], response: web.StreamResponse) -> None:
    """Two tokens, then the connection breaks."""
    await say(response, event(5), event(6))
    assert response._req is not None and response._req.transport is not None
    response._req.transport.abort()


async def hangs(asked: dict[str, Any], response: web.StreamResponse) -> None:
    """A token, then nothing more."""
    await say(response, event(5))
    await asyncio.Event().wait()


@contextmanager
def beside() -> Iterator[Server]:
    """A server on a thread of its own."""
    loop, server = asyncio.new_event_loop(), Server()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
