"""What an engine says of itself while it works, and the pauses between its steps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_LEAST_S = 0.2
_LEAST_WITH_PROMPTS_S = 1.0
"""Prompts take long by themselves: a step near one that was asked must be longer to be a pause."""
_FACTOR = 4.0
_BEFORE, _AFTER = 32, 4
_RANK = 4
"""A pause is so many times as long as the step of this rank, the longest first, among those around it."""
_KEPT = 16


@dataclass(frozen=True)
class Pause:
    """A step that took far longer than those around it.

    Attributes:
        number: Counts the engine's pauses from 0.
        ended_s: When it ended, monotonic seconds.
        seconds: How long it took.
    """

    number: int
    ended_s: float
    seconds: float


@dataclass(frozen=True)
class Vitals:
    """What an engine says of itself while it works.

    Attributes:
        kv_cache: Share of its KV cache that is in use, 0..1; None where it does not say.
        metrics: Its own metrics by its own names, for Prometheus.
        pauses: Its last pauses.
    """

    kv_cache: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    pauses: tuple[Pause, ...] = ()


class StepClock:
    """Counts the tokens of an engine's steps, and notices a step that took far longer than others.

    A step is judged once a few more have followed it, so that a test whose steps are all longer than those
    before it has no pause.

    Args:
        clock: Monotonic seconds.

    Attributes:
        tokens: Tokens so far.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.tokens = 0
        self._clock = clock
        self._last_s = clock()
        self._was_asked = False
        self._steps: deque[tuple[float, float, bool]] = deque(maxlen=_BEFORE + 1 + _AFTER)
        self._pauses: deque[Pause] = deque(maxlen=_KEPT)
        self._count = 0

    @property
    def pauses(self) -> tuple[Pause, ...]:
        """The last pauses; from any thread."""
        return tuple(self._pauses)

    def asked(self, was_idle: bool) -> None:
        """Something was asked of the engine.

        Args:
            was_idle: Whether it had nothing to do before: its step begins now.
        """
        self._was_asked = True
        if was_idle:
            self._last_s = self._clock()

    def step(self, tokens: int) -> None:
        """A step gave so many tokens."""
        now = self._clock()
        self.tokens += tokens
        self._steps.append((now - self._last_s, now, self._was_asked))
        self._last_s, self._was_asked = now, False
        if len(self._steps) > _AFTER and self._steps[-1 - _AFTER][0] >= _LEAST_S:
            self._judge()

    def _judge(self) -> None:
        place = len(self._steps) - 1 - _AFTER
        seconds, ended_s, had_prompts = self._steps[place]
        had_prompts = had_prompts or (place > 0 and self._steps[place - 1][2])
        around = sorted((it[0] for at, it in enumerate(self._steps) if at != place), reverse=True)
        if len(around) < _RANK + _AFTER or seconds < _FACTOR * around[_RANK - 1]:
            return
        if seconds >= (_LEAST_WITH_PROMPTS_S if had_prompts else _LEAST_S):
            self._pauses.append(Pause(self._count, ended_s, seconds))
            self._count += 1
