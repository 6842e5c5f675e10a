"""An engine that makes answers up, with known tokens and a latency model, in real time.

It exists for tests and for measuring the harness itself, and says so wherever its facts go.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import struct
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeInt, PositiveInt

from harness_llm.core import Request
from harness_llm.engines.base import EngineFacts, Sink
from harness_llm.engines.kind import EngineKind, Weights
from harness_llm.engines.simulated_steps import LONGEST_MS, Batching, Steps
from harness_llm.engines.vitals import StepClock, Vitals
from harness_llm.errors import ConfigError, EngineError, named

_LAG_S = 0.5  # a host that was held up for longer does not hurry afterwards
_VOCABULARY = 30_000
_FIRST_ORDINARY_TOKEN = 10
_ALONE = ("first_token_ms", "per_token_ms", "fail_every", "hang_after", "hang_replica", "speed_file")
_SPEED_REMEDY = "It holds a number above 0 and at most 1: how fast the engine is."
_RAMP: npt.NDArray[np.int32] = (
    np.arange(_VOCABULARY + 65_536, dtype=np.int32) % _VOCABULARY + _FIRST_ORDINARY_TOKEN
)


def simulated_answer(prompt: bytes, min_tokens: int, max_tokens: int) -> bytes:
    """The answer to a prompt, packed int32: a function of its arguments alone, so tests can predict it.

    Its length lies in min_tokens..max_tokens, spread by the prompt's last token.
    """
    (last,) = struct.unpack_from("<i", prompt, len(prompt) - 4)
    length = min_tokens + (last * 2_654_435_761 % 1_000_003) % (max_tokens - min_tokens + 1)
    start = (last * 7919 + len(prompt)) % _VOCABULARY
    return _RAMP[start : start + length].tobytes()


def _speed(file: str) -> float:
    """What a speed file holds.

    Raises:
        EngineError: It cannot be read, or holds no speed.
    """
    try:
        speed = float(Path(file).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise EngineError(f"speed_file {file}: {said}", _SPEED_REMEDY) from None
    if not 0 < speed <= 1:
        raise EngineError(f"speed_file {file}: {speed:g} is not a speed", _SPEED_REMEDY)
    return speed


class SimulatedEngine:
    """Answers after `first_token_ms + (tokens - 1) * per_token_ms`, `concurrent` requests at a time.

    Args:
        arguments: Fields of `Simulated`; one that is left out has its default.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._arguments = dict(arguments)
        self._first_s = float(arguments.get("first_token_ms", 0.0)) / 1000
        self._token_s = float(arguments.get("per_token_ms", 0.0)) / 1000
        self._concurrent = int(arguments.get("concurrent", 1024))
        self._fail_every = arguments.get("fail_every")
        self._waiting: deque[Request] = deque()
        self._due: list[tuple[float, int, int, Request, bytes]] = []
        self._running = 0
        self._taken = 0
        self._timer: asyncio.TimerHandle | None = None
        self._hang_after = arguments.get("hang_after")
        self._speed_file = arguments.get("speed_file")
        self._hung_at: float | None = None
        self._generated = 0
        given = arguments.get("batching")
        self._steps = Steps(Batching.model_validate(given), self._concurrent) if given else None
        self._asked: dict[int, tuple[Request, bytes]] = {}
        self._stepping: asyncio.Task[None] | None = None
        self._clock = StepClock()

    async def start(self, sink: Sink) -> EngineFacts:
        """Ready at once."""
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        return EngineFacts(
            name="simulated",
            version="1",
            is_simulated=True,
            max_sequence_tokens=None,
            max_concurrent=self._concurrent,
            resolved=self._arguments,
        )

    def submit(self, requests: Sequence[Request]) -> None:
        """Queue requests and begin as many as may run at once."""
        if self._steps is not None:
            self._clock.asked(was_idle=not self._steps)
            for request in requests:
                answer = simulated_answer(request.prompt, request.min_tokens, request.max_tokens)
                tokens = self._steps.add(request.id, len(request.prompt) // 4, len(answer) // 4)
                tokens = min(max(tokens, request.min_tokens), request.max_tokens)
                start = struct.unpack_from("<i", answer)[0] - _FIRST_ORDINARY_TOKEN
                self._asked[request.id] = request, _RAMP[start : start + tokens].tobytes()
            if self._stepping is None or self._stepping.done():
                self._stepping = self._loop.create_task(self._step(self._steps))
            return
        if self._speed_file is not None:
            slower = 1 / _speed(self._speed_file)
            self._first_s = float(self._arguments.get("first_token_ms", 0.0)) / 1000 * slower
            self._token_s = float(self._arguments.get("per_token_ms", 0.0)) / 1000 * slower
        self._waiting.extend(requests)
        self._begin()

    async def abort(self, request_ids: Collection[int]) -> None:
        """Forget these requests, begun or not, and begin others in their place."""
        given_up = set(request_ids)
        if self._steps is not None:
            self._steps.drop(given_up)
            for request_id in given_up:
                self._asked.pop(request_id, None)
        self._waiting = deque(request for request in self._waiting if request.id not in given_up)
        kept = [entry for entry in self._due if entry[3].id not in given_up]
        self._running -= len(self._due) - len(kept)
        heapq.heapify(kept)
        self._due = kept
        self._begin()

    def check(self) -> None:
        """Return unless its steps have ended by an exception.

        Raises:
            EngineError: They have.
        """
        stepping = self._stepping
        if stepping is None or not stepping.done() or stepping.cancelled():
            return
        if error := stepping.exception():
            raise EngineError(f"the simulated engine cannot continue: {named(error)}") from error

    def generated(self) -> int:
        """Tokens of whole answers, and those that are due by now of others; a hung engine stands still."""
        now = self._loop.time() if self._hung_at is None else self._hung_at
        due = 0
        if self._token_s:
            for end, _, phase, _, answer in list(self._due):
                if phase:
                    due += max(1, len(answer) // 4 - math.ceil(max(0.0, end - now) / self._token_s))
        return self._generated + due

    def vitals(self) -> Vitals:
        """The pauses between steps, where it batches."""
        return Vitals(pauses=self._clock.pauses)

    async def stop(self) -> None:
        """Forget everything."""
        if self._timer is not None:
            self._timer.cancel()
        if self._stepping is not None:
            self._stepping.cancel()
        self._waiting.clear()
        self._due.clear()

    async def _step(self, steps: Steps) -> None:
        """Step after step, each ending when it is due, while there is work."""
        due = self._loop.time()
        while steps:
            seconds, first, last = steps.step()
            due = max(due + seconds, self._loop.time() - _LAG_S)
            await asyncio.sleep(due - self._loop.time())
            for request_id in first:
                if request_id in self._asked and self._asked[request_id][0].wants_first_token:
                    self._sink.first_token(
                        request_id, struct.unpack_from("<i", self._asked[request_id][1])[0]
                    )
            self._generated += steps.made
            self._clock.step(steps.made)
            for request_id in last:
                if request_id in self._asked:
                    self._sink.finished(request_id, self._asked.pop(request_id)[1])

    def _begin(self) -> None:
        if self._hung_at is not None:
            return
        if self._first_s == self._token_s == 0:
            while self._waiting:
                self._answer_at_once(self._waiting.popleft())
            return
        now = self._loop.time()
        while self._waiting and self._running < self._concurrent:
            request = self._waiting.popleft()
            if self._refuses(request):
                continue
            self._running += 1
            answer = simulated_answer(request.prompt, request.min_tokens, request.max_tokens)
            heapq.heappush(self._due, (now + self._first_s, self._taken, 0, request, answer))
        self._arm()

    def _answer_at_once(self, request: Request) -> None:
        if self._refuses(request):
            return
        answer = simulated_answer(request.prompt, request.min_tokens, request.max_tokens)
        if request.wants_first_token:
            self._sink.first_token(request.id, struct.unpack_from("<i", answer)[0])
        self._generated += len(answer) // 4
        self._sink.finished(request.id, answer)

    def _refuses(self, request: Request) -> bool:
        self._taken += 1
        if self._hang_after is not None and self._taken > int(self._hang_after):
            self._hung_at = self._loop.time()
            self._waiting.clear()
            return True
        if self._fail_every is None or self._taken % int(self._fail_every):
            return False
        self._sink.failed(request.id, f"simulated failure of request {self._taken}")
        return True

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            self._timer = self._loop.call_at(self._due[0][0], self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._hung_at is not None:
            return
        now = self._loop.time()
        while self._due and self._due[0][0] <= now:
            due, order, phase, request, answer = heapq.heappop(self._due)
            if phase == 0:
                if request.wants_first_token:
                    self._sink.first_token(request.id, struct.unpack_from("<i", answer)[0])
                rest = (len(answer) // 4 - 1) * self._token_s
                heapq.heappush(self._due, (due + rest, order, 1, request, answer))
            else:
                self._running -= 1
                self._generated += len(answer) // 4
                self._sink.finished(request.id, answer)
        self._begin()


class Simulated(EngineKind):
    """How long the simulated engine takes; all zero means that answers are instant.

    Attributes:
        first_token_ms: Time from a request's start to its first token, milliseconds.
        per_token_ms: Time for each further token, milliseconds.
        concurrent: Requests worked on at once; more wait in the engine's queue.
        fail_every: Fail each n-th request (for tests of failure handling); None never fails.
        hang_after: Generate nothing any more from the next request on (likewise); None never hangs.
        hang_replica: The only replica that hangs; None: all do.
        speed_file: File with its speed, over 0 to 1, read with each request: for a card whose power is
            capped.
        batching: Steps of an engine that batches continuously, instead of `first_token_ms` and
            `per_token_ms`; None: each request takes its own time.
    """

    engine_class = SimulatedEngine
    needs_checkpoint = needs_devices = takes_arguments = False
    is_simulated = True
    end_tokens = frozenset({2})  # what would end a sequence; made-up tokens are ordinary ones

    kind: Literal["simulated"] = "simulated"
    first_token_ms: Annotated[float, Field(ge=0, le=LONGEST_MS)] = 0.0
    per_token_ms: Annotated[float, Field(ge=0, le=LONGEST_MS)] = 0.0
    concurrent: PositiveInt = 1024
    fail_every: PositiveInt | None = None
    hang_after: NonNegativeInt | None = None
    hang_replica: NonNegativeInt | None = None
    speed_file: str | None = None
    batching: Batching | None = None

    def preflight(self, arguments: Mapping[str, Any], place: Callable[[str], str]) -> None:
        """Refuse options that do nothing beside others, and a speed that cannot be read."""
        super().preflight(arguments, place)
        options = type(self).model_fields
        idle = {name: "beside batching" for name in _ALONE} if self.batching is not None else {}
        if self.hang_after is None:
            idle["hang_replica"] = "without hang_after"
        for name, why in idle.items():
            if getattr(self, name) != options[name].default:
                key = f"harness_config.engine.{name}"
                raise ConfigError(f"{place(key)}: {key} does nothing {why}", "Remove it.")
        if self.speed_file is not None:
            try:
                _speed(self.speed_file)
            except EngineError as error:
                key = "harness_config.engine.speed_file"
                raise ConfigError(f"{place(key)}: {key}: {error.message}", error.remedy) from error

    def replica_arguments(self, arguments: Mapping[str, Any], replica: int) -> dict[str, Any]:
        """The options; those of the hang only for the replica that hangs."""
        options = super().replica_arguments(arguments, replica)
        only = options.pop("hang_replica")
        return options if only in (None, replica) else {**options, "hang_after": None}

    @classmethod
    def framework(cls, facts: Mapping[str, Any], packages: Mapping[str, str]) -> str:
        """What every reader must know."""
        return "simulated engine"

    @classmethod
    def weights(cls, arguments: Mapping[str, Any], facts: Mapping[str, Any]) -> Weights:
        """There are none."""
        return Weights("none")
