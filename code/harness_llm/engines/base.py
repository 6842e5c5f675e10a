"""The seam between the harness and whatever generates tokens.

Token ids go in; the first token, then the finished token ids, or a failure, come out. An engine
knows nothing of MLPerf, LoadGen, data sets or processes.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from harness_llm.core import Request, counted
from harness_llm.engines.vitals import StepClock, Vitals
from harness_llm.errors import EngineError, named

SOCKETS_VARIABLE = "HARNESS_LLM_SOCKETS"
"""Environment variable with a folder where an engine's processes make Unix sockets; the run removes it."""

_WARM_UP_PROMPTS = (16, 64, 256)  # tokens
_WARM_UP_TOKENS = 4


class Sink(Protocol):
    """Where an engine reports, from the event loop that `Engine.start` was awaited on."""

    def first_token(self, request_id: int, token: int) -> None:
        """The first token of a request exists; at most once, and before `finished`."""

    def finished(self, request_id: int, tokens: bytes) -> None:
        """A request is complete: all its output token ids, packed int32, first token included."""

    def failed(self, request_id: int, reason: str) -> None:
        """A request cannot be answered; nothing more follows for it."""


@dataclass(frozen=True)
class EngineFacts:
    """What an engine says of itself once it is ready; goes to the run folder as it is.

    Attributes:
        name: Its kind, as in `harness_llm.engines.KINDS`.
        version: Version of what generates the tokens.
        is_simulated: Whether answers are made up; marks every number that follows.
        max_sequence_tokens: Longest prompt plus answer, tokens; None where there is no limit.
        max_concurrent: Requests that the engine works on at once; more wait inside it.
        resolved: What the engine made of `llm_config`, JSON-able.
        changed: By key of `llm_config`, what the engine changed: `{"given": …, "resolved": …}`.
    """

    name: str
    version: str
    is_simulated: bool
    max_sequence_tokens: int | None
    max_concurrent: int
    resolved: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Engine(Protocol):
    """One engine instance on its own group of devices."""

    async def start(self, sink: Sink) -> EngineFacts:
        """Load and warm up, then return; results go to `sink` from then on.

        Raises:
            EngineError: The engine refused its arguments or failed to load.
        """

    def submit(self, requests: Sequence[Request]) -> None:
        """Take requests and return at once; call it on the event loop that `start` ran on."""

    async def abort(self, request_ids: Collection[int]) -> None:
        """Give these requests up; returns when the engine works on none of them any more.

        From the moment of the call nothing is reported for them. An id that is not unfinished is no error.

        Raises:
            EngineError: The engine did not let go of them.
        """

    def check(self) -> None:
        """Return if the engine is alive.

        Raises:
            EngineError: It died, with the reason.
        """

    def generated(self) -> int | None:
        """A count that grows with each step that gave a token, of unfinished answers too; from any thread.

        It tells a hung engine from a busy one. None: the engine cannot say before an answer is whole.
        """

    def vitals(self) -> Vitals:
        """What it says of itself while it works; from any thread, about once a second."""

    async def stop(self) -> None:
        """Free the devices and end every process that the engine started."""


class CutShort(Exception):  # noqa: N818 - no error of the harness: the sample fails by its text
    """Raised by `TaskEngine.generate`: the answer is no whole one, and why, in the engine's words."""


class _WarmUp:
    """The sink of made-up prompts: nobody waits for their answers, but each must be there."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def first_token(self, request_id: int, token: int) -> None:
        del request_id, token

    def finished(self, request_id: int, tokens: bytes) -> None:
        del request_id, tokens

    def failed(self, request_id: int, reason: str) -> None:
        del request_id
        self.failures.append(reason)


class TaskEngine:
    """An Engine with one asyncio task a request, which owns the request's life.

    A subclass says how to load (`load`) and how to answer (`generate`); the rest has a default.

    Attributes:
        name: For messages.
        let_go_s: Longest time for `abort`, seconds.
        streams: Whether `generate` yields tokens as they come, and not whole answers.
        clock: Told of each step by whoever sees them: of what `generate` yields, where it streams.
    """

    name: ClassVar[str]
    let_go_s: ClassVar[float] = 60.0
    streams: ClassVar[bool] = False

    def __init__(self) -> None:
        self.clock = StepClock()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._death: EngineError | None = None
        self._sink: Sink

    async def load(self) -> EngineFacts:
        """Load, so that `generate` works.

        Raises:
            EngineError: The engine refused its arguments; says what would do.
            Exception: Whatever keeps it from loading; becomes an EngineError with the exception's text.
        """
        raise NotImplementedError

    def generate(self, request: Request) -> AsyncIterator[Iterable[int]]:
        """Answer one request: yield its output token ids as they come, one or more at a time, or none.

        Returning says that the answer is whole. Cancelled, it tells the engine to give the request up.

        Raises:
            CutShort: The engine ended the answer before its end.
            EngineError: The engine is dead; `check` says so from then on.
            Exception: Whatever keeps the request from being answered; it fails with the exception's text.
        """
        raise NotImplementedError

    async def let_go(self, request_ids: Collection[int]) -> None:
        """Return when the engine works on none of these any more; their tasks have ended by then."""

    async def unload(self) -> None:
        """Free what `load` took; it may have failed half way, or not have been called."""

    def check(self) -> None:
        """Return if the engine is alive.

        Raises:
            EngineError: It died, with the reason.
        """
        if self._death is not None:
            raise self._death

    def generated(self) -> int | None:
        """How often `generate` has yielded, where it streams."""
        return self.clock.tokens if self.streams else None

    def vitals(self) -> Vitals:
        """The pauses between what was told to `clock`."""
        return Vitals(pauses=self.clock.pauses)

    async def start(self, sink: Sink) -> EngineFacts:
        """Load and answer a few made-up prompts, then return; results go to `sink` from then on.

        Raises:
            EngineError: The engine refused its arguments, failed to load, or does not answer.
        """
        try:
            facts = await self.load()
        except EngineError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an engine raises, it will not serve
            raise EngineError(
                f"{self.name} did not start: {named(error)}",
                "The replica's log has its own words; check llm_config and harness_config.engine by them.",
            ) from error
        self._sink = warm_up = _WarmUp()
        longest = facts.max_sequence_tokens or _WARM_UP_PROMPTS[-1] + _WARM_UP_TOKENS
        for place, length in enumerate(_WARM_UP_PROMPTS):
            if length + _WARM_UP_TOKENS <= longest:
                prompt = array("i", [5 + place] * length).tobytes()
                self.submit([Request(-1 - place, prompt, _WARM_UP_TOKENS, _WARM_UP_TOKENS, True)])
        await asyncio.gather(*self._tasks.values())
        self.check()
        if warm_up.failures:
            raise EngineError(f"a warm-up prompt was not answered: {warm_up.failures[0]}")
        self._sink = sink
        return facts

    def submit(self, requests: Sequence[Request]) -> None:
        """Start a task for each request."""
        self.clock.asked(was_idle=not self._tasks)
        for request in requests:
            self._tasks[request.id] = asyncio.create_task(self._answer(request))

    async def abort(self, request_ids: Collection[int]) -> None:
        """Cancel the requests, then wait until the engine has let go of them.

        Raises:
            EngineError: It did not, within `let_go_s`.
        """
        tasks = [self._tasks.pop(number) for number in request_ids if number in self._tasks]
        for task in tasks:
            task.cancel()
        try:
            async with asyncio.timeout(self.let_go_s):
                await asyncio.gather(*tasks, return_exceptions=True)
                await self.let_go(request_ids)
        except TimeoutError as error:
            raise EngineError(
                f"{self.name} still works on aborted requests after {self.let_go_s:g} s"
            ) from error

    async def stop(self) -> None:
        """Give every request up, and free the devices."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.unload()

    async def _answer(self, request: Request) -> None:
        tokens = array("i")
        try:
            async for new in self.generate(request):
                if self.streams:
                    self.clock.step(1)
                is_first = not tokens
                tokens.extend(new)
                if is_first and tokens and request.wants_first_token:
                    self._sink.first_token(request.id, tokens[0])
            if request.min_tokens <= len(tokens) <= request.max_tokens:
                self._sink.finished(request.id, tokens.tobytes())
            else:
                asked = f"{request.min_tokens} to {request.max_tokens}"
                reason = f"{self.name} answered with {counted(len(tokens), 'token')}, {asked} were asked for"
                self._sink.failed(request.id, reason)
        except asyncio.CancelledError:
            raise
        except EngineError as error:
            self._death = self._death or error
        except CutShort as error:
            self._fail(
                request, f"{self.name} cut the answer short after {counted(len(tokens), 'token')}: {error}"
            )
        except Exception as error:  # noqa: BLE001 - whatever an engine raises, the sample has no answer
            self._fail(request, named(error))
        finally:
            self._tasks.pop(request.id, None)

    def _fail(self, request: Request, reason: str) -> None:
        """Say that a request has no answer; where the engine is dead, `check` says so instead."""
        try:
            self.check()
        except EngineError:
            return
        self._sink.failed(request.id, reason)
