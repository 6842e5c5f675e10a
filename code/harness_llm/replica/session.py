"""What one loadgen process has asked of a replica, and what it has not been told yet."""

from __future__ import annotations

from harness_llm.transport.session import Sequence
from harness_llm.transport.wire import Events

__all__ = ["Session"]


class Session:
    """Collects events until they are sent together.

    Args:
        name: The session's name.
        hear: ZeroMQ identity of the socket that hears the events.
    """

    def __init__(self, name: str, hear: bytes) -> None:
        self.hear = hear
        self.is_closed = False
        self.is_dirty = False
        self._submits = Sequence(name)
        self._sent = 0
        self._clear()

    def read(self, number: int) -> None:
        """A Submit has arrived.

        Raises:
            ProtocolError: One before it is missing, or it came twice.
        """
        self._submits.accept(number)

    def first_token(self, ordinal: int, token: int) -> None:
        """To be told: a first token."""
        self._first_ids.append(ordinal)
        self._first_tokens.append(token)

    def finished(self, ordinal: int, tokens: bytes) -> None:
        """To be told: a complete answer."""
        self._finished_ids.append(ordinal)
        self._finished_tokens.append(tokens)

    def failed(self, ordinal: int, reason: str) -> None:
        """To be told: a failure."""
        self._failures.append((ordinal, reason))

    def take_events(self) -> Events:
        """The next message; possibly empty but for its numbers."""
        events = Events(
            self._sent,
            self._submits.count,
            self._first_ids,
            self._first_tokens,
            self._finished_ids,
            self._finished_tokens,
            self._failures,
        )
        self._sent += 1
        self._clear()
        return events

    def _clear(self) -> None:
        self._first_ids: list[int] = []
        self._first_tokens: list[int] = []
        self._finished_ids: list[int] = []
        self._finished_tokens: list[bytes] = []
        self._failures: list[tuple[int, str]] = []
