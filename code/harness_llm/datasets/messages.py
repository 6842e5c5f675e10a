"""Conversations as people keep them, as the messages that a chat template takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Messages = list[dict[str, str]]

_ROLES = {
    "system": "system", "developer": "developer", "tool": "tool",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant",
}  # fmt: skip


def read_messages(given: object) -> Messages:
    """Messages of `role` and `content`, or of ShareGPT's `from` and `value`; a content's texts are joined.

    Raises:
        ValueError: It is no such list; names the message.
    """
    if not isinstance(given, list) or not given:
        raise ValueError(f"messages: expected a list of role and content, found {_shown(given)}")
    return [_message(number, message) for number, message in enumerate(given)]


def split_answer(messages: Messages, *, first: bool) -> tuple[Messages, str | None]:
    """What is asked, and the answer that stands below it; None where the conversation ends with a question.

    Args:
        messages: The conversation.
        first: Ask up to the first answer, else up to the last message.
    """
    if first:
        place = next((n for n, message in enumerate(messages) if message["role"] == "assistant"), None)
        messages = messages if place is None else messages[: place + 1]
    if messages[-1]["role"] != "assistant":
        return messages, None
    return messages[:-1], messages[-1]["content"]


def _message(number: int, message: object) -> dict[str, str]:
    if not isinstance(message, dict):
        raise ValueError(f"messages.{number}: expected role and content, found {_shown(message)}")
    role, content = (
        message.get(name, message.get(other)) for name, other in (("role", "from"), ("content", "value"))
    )
    if not isinstance(role, str) or role not in _ROLES:
        raise ValueError(f"messages.{number}.role: found {_shown(role)}, known: {', '.join(_ROLES)}")
    if isinstance(content, Sequence) and not isinstance(content, str):
        content = _joined(number, content)
    if not isinstance(content, str):
        raise ValueError(f"messages.{number}.content: expected text, found {_shown(content)}")
    return {"role": _ROLES[role], "content": content}


def _joined(number: int, parts: Sequence[Any]) -> str:
    """OpenAI's parts of one content, each a text."""
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            raise ValueError(f"messages.{number}.content: only texts are asked, found {_shown(part)}")
    return "".join(part["text"] for part in parts)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
