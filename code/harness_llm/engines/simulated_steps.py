"""Steps of a made-up engine that batches continuously: what each does, and how long it takes.

It goes token by token, and has what a fitted model of steps lacks: a roofline, steps that vary and drift,
pauses, answers whose length changes from run to run. Time is the caller's: an engine sleeps it, a test only
counts it.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt, model_validator

LONGEST_MS = 86_400_000.0
"""A day."""
_Ms = Annotated[float, Field(ge=0, le=LONGEST_MS)]
_Share = Annotated[float, Field(ge=0, le=1)]


class Batching(BaseModel):
    """How a made-up engine batches, and what its steps cost.

    Attributes:
        step_tokens: Most tokens of a step.
        weights_ms: Least time of a step, ms.
        token_ms: Time of a token where steps are bound by compute, ms.
        context_us: Time of a token of context, us.
        host_ms: Time between steps, ms.
        request_us: Time of a running request, us.
        noise: Relative standard deviation of steps, lasting over some of them.
        drift: Share by which steps grow longer within the first minutes.
        pauses_per_s: How often a step takes `pause_ms` longer, which must be set, too.
        pause_ms: By how much, mean, ms.
        changed_answers: Share of answers whose length differs by a tenth from run to run.
        kv_tokens: Tokens that the KV cache holds, in blocks; where it is full, the youngest request gives way
            and is computed again. None: it is ample.
        graphs: Tokens to which smaller steps are padded, ascending; empty pads none.
        seed: Of all that is drawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    step_tokens: PositiveInt = 2048
    weights_ms: _Ms = 10.0
    token_ms: _Ms = 0.1
    context_us: _Ms = 0.0
    host_ms: _Ms = 1.0
    request_us: _Ms = 0.0
    noise: _Share = 0.0
    drift: Annotated[float, Field(ge=0, le=1000)] = 0.0
    pauses_per_s: NonNegativeFloat = 0.0
    pause_ms: _Ms = 0.0
    changed_answers: _Share = 0.0
    kv_tokens: PositiveInt | None = None
    graphs: tuple[PositiveInt, ...] = ()
    seed: int = 0

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if list(self.graphs) != sorted(set(self.graphs)):
            raise ValueError(f"graphs must ascend, found {list(self.graphs)}")
        if self.pauses_per_s and not self.pause_ms:
            raise ValueError("pauses_per_s does nothing without pause_ms; set both or neither")
        return self


_BLOCK = 16  # tokens of the KV cache
_LASTING = 0.97
_WARMS_IN_S = 60.0


@dataclass(slots=True)
class _Sequence:
    key: int
    prompt: int
    answer: int
    computed: int = 0
    made: int = 0

    @property
    def blocks(self) -> int:
        """Of the KV cache, with the token to come."""
        return -(-(self.prompt + self.made + 1) // _BLOCK)


class Steps:
    """The steps of one made-up replica.

    Args:
        batching: What they cost.
        concurrent: Requests that run at once.

    Attributes:
        made: Answer tokens of the newest step.
    """

    def __init__(self, batching: Batching, concurrent: int) -> None:
        self._costs, self._concurrent = batching, concurrent
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self._random = random.Random(batching.seed)  # noqa: S311 - not for secrets
        self._lasting = 0.0
        self._seconds = 0.0
        self.made = 0

    def add(self, key: int, prompt: int, answer: int) -> int:
        """Queue a request; the tokens that its answer will have."""
        if self._random.random() < self._costs.changed_answers:
            answer = max(1, round(answer * (1 + 0.1 * self._random.gauss(0, 1))))
        self._waiting.append(_Sequence(key, prompt, answer))
        return answer

    def drop(self, keys: set[int]) -> None:
        """Forget requests."""
        self._waiting = deque(each for each in self._waiting if each.key not in keys)
        self._running = [each for each in self._running if each.key not in keys]

    def __bool__(self) -> bool:
        return bool(self._running or self._waiting)

    def step(self) -> tuple[float, list[int], list[int]]:
        """One step: seconds that it takes, and whose first and whose last token is there after it."""
        costs, left = self._costs, self._costs.step_tokens
        context, attention, first, last = 0, 0.0, [], []
        running = self._running
        self._admit(running)
        goes_on, self.made = [], 0
        for each in running:
            take = min(left, each.prompt + each.made - each.computed)
            left -= take
            context += each.computed
            if take > 1:
                attention += take * (each.computed + 0.5 * take)
            each.computed += take
            if take and each.computed == each.prompt + each.made:
                each.made += 1
                self.made += 1
                if each.made == 1:
                    first.append(each.key)
                if each.made >= each.answer:
                    last.append(each.key)
                    continue
            goes_on.append(each)
        tokens, count = costs.step_tokens - left, len(running)
        self._running = goes_on
        return self._took(tokens, count, context, attention), first, last

    def _admit(self, running: list[_Sequence]) -> None:
        """Begin waiting requests as far as requests and the KV cache reach; where it is full, let some go."""
        room = math.inf if self._costs.kv_tokens is None else self._costs.kv_tokens // _BLOCK
        room -= sum(each.blocks for each in running)
        is_full = room < 0
        while room < 0 and len(running) > 1:
            youngest = running.pop()
            room += youngest.blocks
            youngest.computed = 0
            self._waiting.appendleft(youngest)
        while self._waiting and len(running) < self._concurrent and not is_full:
            room -= self._waiting[0].blocks
            if room < 0 and running:
                return
            running.append(self._waiting.popleft())

    def _took(self, tokens: int, requests: int, context: int, attention: float) -> float:
        costs = self._costs
        tokens = next((size for size in costs.graphs if size >= tokens), tokens)
        roofline: float = ((costs.token_ms * tokens) ** 4 + costs.weights_ms**4) ** 0.25
        ms = (
            roofline
            + costs.host_ms
            + (costs.request_us * requests + costs.context_us * (context + attention / 50)) / 1000
        )
        if costs.noise:
            fresh = math.sqrt(1 - _LASTING**2) * costs.noise * self._random.gauss(0, 1)
            self._lasting = _LASTING * self._lasting + fresh
        ms *= math.exp(self._lasting) * (1 + costs.drift * (1 - math.exp(-self._seconds / _WARMS_IN_S)))
        if costs.pauses_per_s and self._random.random() < costs.pauses_per_s * ms / 1000:
            ms += costs.pause_ms * self._random.expovariate(1)
        self._seconds += ms / 1000
        return ms / 1000
