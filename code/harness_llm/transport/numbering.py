"""The numbering of one direction of a session: contiguous, or an error."""

from __future__ import annotations

from harness_llm.errors import ProtocolError


class MessageCounter:
    """Checks that messages arrive numbered 0, 1, 2, … with none lost and none repeated.

    Args:
        name: Who sends, for the error: `replica 0`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._next = 0

    @property
    def count(self) -> int:
        """Messages accepted so far, which is also the number that must come next."""
        return self._next

    def accept(self, number: int) -> None:
        """Take the number of a message that has just arrived.

        Raises:
            ProtocolError: A message before it is missing, or it came twice.
        """
        if number > self._next:
            raise ProtocolError(
                f"{self._name}: message {self._next} was lost (message {number} arrived instead)",
                "Check the replica's log and, if it is on another host, the network.",
            )
        if number < self._next:
            raise ProtocolError(f"{self._name}: message {number} arrived twice")
        self._next += 1
