"""What the supervisor knows of a running test, and what it records of it once a second."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from harness_llm.logs.early_stopping import max_over_limit
from harness_llm.results.latency_bins import binned
from harness_llm.results.live_records import TestState
from harness_llm.system.others import Others
from harness_llm.transport.spec import LoadgenTest
from harness_llm.transport.wire import Progress


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
        started: When it began, monotonic seconds.
        last_change: When anything last happened, monotonic seconds.
        lost: Why it cannot be VALID any more; empty while it can, or while a lost replica may be the reason.
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
    started: float = field(default_factory=time.monotonic)
    last_change: float = field(default_factory=time.monotonic)
    lost: str = ""
    ttft_over: int = 0
    tpot_over: int = 0
    others: Others | None = None
    _ttft: Counter[int] = field(default_factory=Counter)
    _tpot: Counter[int] = field(default_factory=Counter)

    def update(self, message: Progress) -> bool:
        """Take in what the loadgen process says; whether anything happened since it last spoke."""
        is_news = message.done != self.done or message.issued != self.issued or bool(message.ttft)
        if is_news:
            self.last_change = time.monotonic()
        self.issued, self.done, self.tokens = message.issued, message.done, message.tokens
        self._ttft.update(binned(message.ttft))
        self._tpot.update(binned(message.tpot))
        self.ttft_over += _over(message.ttft, self.test.ttft_limit_ms)
        self.tpot_over += _over(message.tpot, self.test.tpot_limit_ms)
        return is_news

    def record(self) -> TestState:
        """How it goes now; the latencies of what came since the last call are in it, and only in it."""
        test, ttft, tpot = self.test, dict(self._ttft), dict(self._tpot)
        self._ttft.clear()
        self._tpot.clear()
        return TestState(
            name=test.name,
            began_at_s=self.started,
            stage=self.stage,
            is_timed=test.scenario.is_timed_per_token,
            target_qps=test.target_qps,
            expected=test.expected,
            issued=self.issued,
            done=self.done,
            tokens=self.tokens,
            ttft=ttft,
            tpot=tpot,
            ttft_limit_ms=test.ttft_limit_ms,
            tpot_limit_ms=test.tpot_limit_ms,
            ttft_over=self.ttft_over,
            tpot_over=self.tpot_over,
            allowed=max(0, max_over_limit(max(test.expected or 0, self.issued))),
            changed_at_s=self.last_change,
            lost=self.lost,
        )
