"""What is known of a running test, for people: counts, rates, latencies so far, time left."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from harness_llm.logs.early_stopping import max_over_limit
from harness_llm.system.others import Others
from harness_llm.transport.spec import LoadgenTest
from harness_llm.transport.wire import Progress

_NOW_S = 10.0
_LEAST_S, _MOST_S = 1e-6, 1e6
_LOG_WIDTH = math.log(1.002)  # of a bin
_BINS = math.ceil(math.log(_MOST_S / _LEAST_S) / _LOG_WIDTH) + 1


class Percentiles:
    """Percentiles of a growing set of seconds, to 0.1 %, in a memory and a time that do not grow with it.

    Values are counted in bins whose edges lie a factor of 1.002 apart, from 1 µs to 10⁶ s (which stand for
    whatever lies beyond them). They are for the live view; a result is LoadGen's own figure, which is exact.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)

    def extend(self, packed: bytes) -> None:
        """Add float32 seconds."""
        seconds = np.frombuffer(packed, np.float32).astype(np.float64)
        places = np.log(np.clip(seconds, _LEAST_S, _MOST_S) / _LEAST_S) / _LOG_WIDTH
        self._counts += np.bincount(places.astype(np.int64), minlength=_BINS)

    def at(self, percent: float) -> float | None:
        """The smallest value that `percent` percent do not exceed, seconds; None while there are none."""
        up_to = np.cumsum(self._counts)
        count = int(up_to[-1])
        if not count:
            return None
        rank = max(1, math.ceil(count * percent / 100))
        place = int(np.searchsorted(up_to, rank))
        return _LEAST_S * math.exp((place + 0.5) * _LOG_WIDTH)


def _over(packed: bytes, limit_ms: float | None) -> int:
    """How many of these float32 seconds are over a limit."""
    return 0 if limit_ms is None else int((np.frombuffer(packed, np.float32) > limit_ms / 1000).sum())


@dataclass
class TestProgress:
    """How one test goes.

    Attributes:
        test: What runs.
        stage: What its process does now.
        issued: Queries issued so far.
        done: Queries complete so far.
        tokens: Output tokens of complete queries.
        ttft: Times to first token, seconds.
        tpot: Times for each further token, seconds.
        started: When it began, monotonic seconds.
        last_change: When anything last happened, monotonic seconds.
        lost: Why it cannot be VALID any more; empty while it can.
        ttft_over: Samples over the limit of TTFT, by the harness's own clock.
        tpot_over: Samples over the limit of TPOT.
        others: What others hold of the host; None where nobody looks.
    """

    __test__ = False  # no pytest class

    test: LoadgenTest
    stage: str = "starting LoadGen"
    issued: int = 0
    done: int = 0
    tokens: int = 0
    ttft: Percentiles = field(default_factory=Percentiles)
    tpot: Percentiles = field(default_factory=Percentiles)
    started: float = field(default_factory=time.monotonic)
    last_change: float = field(default_factory=time.monotonic)
    lost: str = ""
    ttft_over: int = 0
    tpot_over: int = 0
    others: Others | None = None
    _past: deque[tuple[float, int]] = field(default_factory=deque)

    def update(self, message: Progress) -> bool:
        """Take in what the loadgen process says; whether anything happened since it last spoke."""
        is_news = message.done != self.done or message.issued != self.issued or bool(message.ttft)
        if is_news:
            self.last_change = time.monotonic()
        self.issued, self.done, self.tokens = message.issued, message.done, message.tokens
        self.ttft.extend(message.ttft)
        self.tpot.extend(message.tpot)
        self.lost = self.lost or message.lost
        self.ttft_over += _over(message.ttft, self.test.ttft_limit_ms)
        self.tpot_over += _over(message.tpot, self.test.tpot_limit_ms)
        self._remember()
        return is_news

    @property
    def elapsed_s(self) -> float:
        """Seconds since the test began."""
        return time.monotonic() - self.started

    @property
    def tokens_per_s(self) -> float:
        """Output tokens of complete samples a second, since the test began."""
        return self.tokens / max(self.elapsed_s, 1e-9)

    @property
    def tokens_per_s_now(self) -> float:
        """The same of the last 10 s, or since the test began where that is less."""
        now = time.monotonic()
        at, tokens = next(
            ((at, tokens) for at, tokens in self._past if now - at <= _NOW_S), (now, self.tokens)
        )
        return (self.tokens - tokens) / (now - at) if now - at >= 1 else self.tokens_per_s

    @property
    def allowed(self) -> int:
        """Most samples that may be over a limit, of all that the test will have."""
        return max(0, max_over_limit(max(self.test.expected or 0, self.issued)))

    def _remember(self) -> None:
        now = time.monotonic()
        if not self._past or now - self._past[-1][0] >= 1:
            self._past.append((now, self.tokens))
        while now - self._past[0][0] > 2 * _NOW_S:
            self._past.popleft()

    @property
    def quiet_s(self) -> float:
        """Seconds in which nothing was issued, begun or finished."""
        return time.monotonic() - self.last_change

    @property
    def left_s(self) -> float | None:
        """Estimate of the seconds left; None while nothing is known."""
        total = max(self.test.expected or 0, self.issued)
        if self.test.scenario.is_timed_per_token and self.issued < total:  # LoadGen sends at this rate
            return (total - self.issued) / self.test.target_qps
        if not self.done or not total:
            return None
        return (total - self.done) * self.elapsed_s / self.done
