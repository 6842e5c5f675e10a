"""Any OpenAI-compatible server (vLLM, SGLang, TensorRT-LLM, LLMBoost): token ids in and out over HTTP."""

from __future__ import annotations

import os
from array import array
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field, PositiveInt

from harness_llm.core import Request
from harness_llm.engines.base import CutShort, EngineFacts, TaskEngine
from harness_llm.engines.kind import EngineKind
from harness_llm.errors import EngineError


class _Choice(msgspec.Struct):
    text: str | None = None
    token_ids: list[Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]] | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    error: Any = None


class OpenAIEngine(TaskEngine):
    """Requests to one server, each a stream of its own, which is closed to give the request up."""

    name = "the server"
    streams = True

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        super().__init__()
        self._options = arguments
        self._url = arguments["base_urls"][0].rstrip("/").removesuffix("/v1")
        self._decode = msgspec.json.Decoder(_Event).decode
        self._session: Any = None

    async def load(self) -> EngineFacts:
        """Ask the server what it is."""
        import aiohttp

        key = os.environ.get(self._options["api_key_env"] or "")
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
            # Shorter than any server keeps a connection: one that it closes would fail the next request.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=1),
            read_bufsize=8 << 20,  # above the longest event, in bytes; the first one repeats the prompt
        )
        status, listed = await self._get("/v1/models")
        models = {model["id"]: model for model in listed.get("data", ())}
        if not models:
            raise EngineError(
                f"{self._url}/v1/models names no model: HTTP {status}",
                "base_urls are of OpenAI-compatible servers, without the /v1; is this one up?",
            )
        name = self._options["model"] or next(iter(models))
        if name not in models:
            raise EngineError(f"{self._url}/v1/models lists {', '.join(models)}, not {name}")
        version = (await self._get("/version"))[1].get("version", "of unknown version")
        self._body = {"model": name, "temperature": 0, "stream": True, "return_token_ids": True}
        server = f"server {models[name].get('owned_by')} {version}, model {name}"
        facts = {"url": self._url, "model": models[name], "prefix_caching": "unknown", "sampling": "unknown"}
        longest, concurrent = models[name].get("max_model_len"), self._options["concurrent"]
        return EngineFacts("openai", server, False, longest, concurrent, resolved=facts)

    async def generate(self, request: Request) -> AsyncIterator[Iterable[int]]:
        """Stream one completion; an event without tokens, such as a first one with a role, is no token."""
        asked = {"prompt": array("i", request.prompt).tolist(), "min_tokens": request.min_tokens}
        body, reason = {**self._body, **asked, "max_tokens": request.max_tokens}, None
        async with self._reach(self._session.post(f"{self._url}/v1/completions", json=body)) as response:
            if response.status != 200:
                raise CutShort(f"HTTP {response.status}: {(await response.text())[:500]}")
            async for line in response.content:
                if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
                    continue
                event = self._decode(line[5:])
                if event.error is not None:
                    raise CutShort(f"{event.error}"[:500])
                for choice in event.choices:
                    if choice.text and choice.token_ids is None:
                        raise CutShort("text without token ids is no answer: it ignores return_token_ids")
                    reason = choice.finish_reason or reason
                    yield choice.token_ids or ()
        if reason not in ("stop", "length"):
            raise CutShort(reason or "the stream ended without a finish_reason")

    @asynccontextmanager
    async def _reach(self, asked: Any) -> AsyncIterator[Any]:
        """What a request answers; where its connection breaks and the server takes none, it is gone."""
        import aiohttp

        try:
            async with asked as response:
                yield response
        except aiohttp.ClientError as error:
            try:
                await self._get("/v1/models")
            except (aiohttp.ClientError, TimeoutError):
                said = f"{self._url} cannot be reached any more: {error}"
                raise EngineError(said, "Read its log.") from error
            raise

    async def unload(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def _get(self, path: str) -> tuple[int, Any]:
        """The status, and what is answered; an empty object where that is an error."""
        async with self._session.get(f"{self._url}{path}", timeout=60) as response:
            return response.status, msgspec.json.decode(await response.read()) if response.ok else {}


class OpenAI(EngineKind):
    """One replica for each server.

    Attributes:
        base_urls: Of the servers, such as `http://10.0.0.1:8000`.
        model: As the servers call it; None takes the first that they list.
        api_key_env: Environment variable that holds the API key, which is written to no file.
        concurrent: Requests that Offline keeps at one server, and as many again behind them.
    """

    engine_class = OpenAIEngine
    needs_checkpoint = needs_devices = takes_arguments = False
    marker = "engine openai: the server's prefix caching and sampling are unknown"
    one_each, secrets, knows_reuse = "base_urls", ("api_key_env",), False

    kind: Literal["openai"] = "openai"
    base_urls: Annotated[
        list[Annotated[str, Field(pattern=r"^https?://[^@?#\s]+$")]],
        Field(min_length=1, examples=["[http://127.0.0.1:8000]"]),
    ]
    model: str | None = None
    api_key_env: str | None = None
    concurrent: PositiveInt = 256
