"""The seam between the harness and whatever generates tokens.

Token ids go in; the first token, then the finished token ids, or a failure, come out. An engine
knows nothing of MLPerf, LoadGen, data sets or processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from harness_llm.core import Request

__all__ = ["Engine", "EngineFacts", "Sink"]


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
        name: `vllm`, `simulated`, …
        version: Version of the engine's package.
        is_simulated: Whether answers are made up; marks every number that follows.
        max_sequence_tokens: Longest prompt plus answer, tokens; None where there is no limit.
        max_concurrent: Requests that the engine works on at once; more wait inside it.
        resolved: What the engine made of `llm_config`, JSON-able.
    """

    name: str
    version: str
    is_simulated: bool
    max_sequence_tokens: int | None
    max_concurrent: int
    resolved: Mapping[str, Any] = field(default_factory=dict)


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

    async def stop(self) -> None:
        """Free the devices and end every process that the engine started."""
