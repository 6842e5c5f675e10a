"""What is seen of answers as they come, for their content is kept in accuracy mode only."""

from __future__ import annotations

from dataclasses import dataclass

from harness_llm.core import counted

_TOKEN_BYTES = 4


@dataclass
class _Seen:
    """Of one replica; the fields of `results.observed.AnswerRecord`."""

    answers: int = 0
    one_token_id: int = 0
    other_first_token: int = 0
    odd_length: int = 0
    no_token: int = 0
    are_alike: bool = True


class AnswerWatch:
    """Counts, for each replica, answers that no sound engine gives.

    Args:
        replicas: How many there are.
    """

    def __init__(self, replicas: int) -> None:
        self.seen = [_Seen() for _ in range(replicas)]
        self._first_answers: list[bytes | None] = [None] * replicas

    def add(self, replica: int, answer: bytes, least: int, most: int, first_token: int | None) -> str:
        """Take an answer in.

        Args:
            replica: Whose it is.
            answer: Its tokens, packed int32.
            least: Fewest tokens that were asked for.
            most: Most tokens that were asked for.
            first_token: What was reported as its first token; None where nothing was.

        Returns:
            Why no test with this answer can be VALID; empty where nothing speaks against it.
        """
        seen, head = self.seen[replica], answer[:_TOKEN_BYTES]
        count, rest = divmod(len(answer), _TOKEN_BYTES)
        seen.answers += 1
        second = answer[_TOKEN_BYTES : 2 * _TOKEN_BYTES]  # mostly tells an answer from one of one token
        if count > 1 and second == head and answer == head * count:
            seen.one_token_id += 1
        if seen.are_alike:
            known = self._first_answers[replica]
            if known is None:
                self._first_answers[replica] = answer
            seen.are_alike = known is None or known == answer
        if rest:
            seen.odd_length += 1
            return f"an answer has {len(answer)} bytes, which are no whole tokens"
        if not least <= count <= most:
            return f"an answer has {counted(count, 'token')}, {least} to {most} were asked for"
        if answer[_TOKEN_BYTES - 1 :: _TOKEN_BYTES].count(0) != count:  # the highest byte of each
            seen.no_token += 1
            return "an answer has token ids below 0 or above 16,777,215, which no vocabulary has"
        if first_token is not None and int.from_bytes(head, "little", signed=True) != first_token:
            seen.other_first_token += 1
            found = int.from_bytes(head, "little", signed=True)
            return f"an answer begins with token {found}, but {first_token} was reported as its first"
        return ""
