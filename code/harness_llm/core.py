"""The nouns that every module shares, spelled as LoadGen and the MLPerf rules spell them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

import msgspec

NANOSECONDS_PER_MS = 1_000_000
NANOSECONDS_PER_SECOND = 1_000_000_000


def counted(count: int, one: str, several: str = "") -> str:
    """A number with its noun: `1 replica`, `1,024 replicas`.

    Args:
        count: How many.
        one: The words for one.
        several: Those for any other number; `one` with an s by default.
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"


class Scenario(StrEnum):
    """A scenario as a submission names it; `loadgen_name` is what LoadGen knows."""

    OFFLINE = "Offline"
    SERVER = "Server"
    INTERACTIVE = "Interactive"

    @property
    def loadgen_name(self) -> str:
        """LoadGen's scenario: Interactive is Server under the model name `<model>-interactive`."""
        return "Offline" if self is Scenario.OFFLINE else "Server"

    @property
    def is_timed_per_token(self) -> bool:
        """Whether LoadGen judges TTFT and TPOT, so that first tokens must be reported."""
        return self is not Scenario.OFFLINE


class Mode(StrEnum):
    """LoadGen's test modes that a submission needs, in LoadGen's spelling."""

    PERFORMANCE = "PerformanceOnly"
    ACCURACY = "AccuracyOnly"

    @property
    def folder(self) -> str:
        """Folder name under a scenario: `performance` or `accuracy`."""
        return "performance" if self is Mode.PERFORMANCE else "accuracy"


@dataclass(frozen=True, slots=True)
class GenerationLimits:
    """How many tokens one answer may have; decoding is always greedy.

    Attributes:
        min_tokens: At least 2: LoadGen counts an answer of one token as an error
            (loadgen/logging.cc, RecordTokenCompletion, @b66003e1).
        max_tokens: The answer is cut here; tokens, end-of-sequence included.
    """

    min_tokens: int
    max_tokens: int

    def __post_init__(self) -> None:
        assert 1 <= self.min_tokens <= self.max_tokens, (self.min_tokens, self.max_tokens)


class Request(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One prompt to answer, greedily; a msgspec struct because it crosses processes as it is.

    Attributes:
        id: Chosen by the caller, unique among unfinished requests of one engine.
        prompt: Token ids, little-endian int32, packed.
        min_tokens: No end of sequence before that many tokens.
        max_tokens: The answer is cut here.
        wants_first_token: Whether the first token must be reported as soon as it exists.
    """

    id: int
    prompt: bytes
    min_tokens: int
    max_tokens: int
    wants_first_token: bool


class EventStatus(IntEnum):
    """How far a query came."""

    UNUSED = 0
    ISSUED = 1
    FIRST_TOKEN = 2
    FINISHED = 3
    FAILED = 4
