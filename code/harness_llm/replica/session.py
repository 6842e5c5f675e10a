"""What one loadgen process has asked of a replica, and what it has not been told yet."""

from __future__ import annotations

import time

from harness_llm.transport.numbering import MessageCounter
from harness_llm.transport.wire import Events


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
        self._submits = MessageCounter(name)
        self._sent = 0
        self._clear()

    def count_submit(self, number: int) -> None:
        """Count a Submit that has arrived.

        Raises:
            ProtocolError: One before it is missing, or it came twice.
        """
        self._submits.accept(number)

    def add_first_token(self, ordinal: int, token: int) -> None:
        """Add a first token to the next message."""
        self._first_ids.append(ordinal)
        self._first_tokens.append(token)

    def add_answer(self, ordinal: int, tokens: bytes) -> None:
        """Add a complete answer to the next message."""
        self._finished_ids.append(ordinal)
        self._finished_tokens.append(tokens)

    def add_failure(self, ordinal: int, reason: str) -> None:
        """Add a failure to the next message."""
        self._failures.append((ordinal, reason))

    def begin_message(self) -> None:
        """What is added from now on goes into one message."""
        self.is_dirty = True
        self._batch_ns = time.monotonic_ns()

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
            self._batch_ns,
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
        self._batch_ns = 0
