"""What an engine says of itself while it works, and the pauses between its steps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_LEAST_S = 0.2
_LEAST_WITH_PROMPTS_S = 1.0
"""Prompts take long by themselves: a step near one must be longer to be a pause, where few are asked."""
_NEAR_S, _OFTEN = 0.5, 8  # before a step; in the time before it with which it is compared
_FACTOR = 4.0
_SUCH = 4
"""A pause has fewer steps around it that are a quarter as long, or longer, than this many."""
_BEFORE_S, _AFTER_S = 20.0, 2.0
_COUNTED_S = _LEAST_S / _FACTOR  # a shorter step is compared with nothing, like tokens that come together
_KEPT, _KEPT_STEPS = 16, 64


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


@dataclass(frozen=True)
class _Step:
    seconds: float
    ended_s: float


class StepClock:
    """Counts what an engine generates, and notices a step that took far longer than those around it.

    A step is judged once some have followed it, so that a test whose steps are all longer than those before
    it has no pause.

    Args:
        clock: Monotonic seconds.

    Attributes:
        tokens: Tokens so far.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.tokens = 0
        self._clock = clock
        self._last_s = clock()
        self._asked_s: deque[float] = deque(maxlen=_OFTEN)
        self._steps: deque[_Step] = deque(maxlen=_KEPT_STEPS)
        self._doubtful: deque[_Step] = deque()
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
        self._asked_s.append(self._clock())
        if was_idle:
            self._last_s = self._asked_s[-1]

    def step(self, tokens: int) -> None:
        """So many tokens came together."""
        now = self._clock()
        seconds, self._last_s = now - self._last_s, now
        self.tokens += tokens
        if seconds >= _COUNTED_S:
            step = _Step(seconds, now)
            self._steps.append(step)
            if seconds >= (_LEAST_WITH_PROMPTS_S if self._has_rare_prompts(step) else _LEAST_S):
                self._doubtful.append(step)
        if self._doubtful:
            self._judge(now)

    def _has_rare_prompts(self, step: _Step) -> bool:
        """Whether it was asked near a step, and is asked too seldom to compare that with others."""
        asked_s = self._asked_s
        is_near = bool(asked_s) and asked_s[-1] >= step.ended_s - step.seconds - _NEAR_S
        return is_near and (len(asked_s) < _OFTEN or step.ended_s - asked_s[0] > _BEFORE_S)

    def _judge(self, now: float) -> None:
        step = self._doubtful[0]
        near = [it for it in self._steps if step.ended_s - _BEFORE_S <= it.ended_s and it is not step]
        such = sum(it.seconds >= step.seconds / _FACTOR for it in near)
        if such >= _SUCH:
            self._doubtful.popleft()
        elif now - step.ended_s >= _AFTER_S:
            self._doubtful.popleft()
            self._pauses.append(Pause(self._count, step.ended_s, step.seconds))
            self._count += 1
