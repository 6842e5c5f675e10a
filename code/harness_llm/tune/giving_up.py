"""What is made of a try while it runs: when a stage of the ramp has shown enough, when a run is given up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from harness_llm.errors import EngineError
from harness_llm.tune.future import AgainstLimits, Future
from harness_llm.tune.model import Model
from harness_llm.tune.seen_run import LEAST_DONE, Observed

RAMP, RUN, KNOWN = "ramp", "run", "known"
"""What a try is: a stage of the ramp, a legal run, or a run of another time that is learned from."""
LOOKS_S = (60.0, 150.0, 300.0)
"""When a run is looked at, seconds after its start; of shorter runs the same shares of 600 s."""
_WHOLE_S = 600.0
_STAGE_S, _STAGE_QUERIES = (8.0, 20.0), 60
_SLOW_S, _SLOW_QUERIES = 240.0, LEAST_DONE + 4
_UPWARD = (0.02, 0.03, 0.10)
_DOWNWARD = ((0.05, 0.98), (0.2, 0.995), (0.05, 0.995))


def looks_at(length_s: float) -> list[float]:
    """When a run of such a length is looked at, s."""
    scale = min(1.0, length_s / _WHOLE_S)
    return [at * scale for at in LOOKS_S if at * scale < 0.7 * length_s]


@dataclass(frozen=True)
class RampStage:
    """One stage of the ramp.

    Attributes:
        limits_s: Of TTFT and TPOT, seconds.
        is_slow: Whether it is below the ramp's first rate, and has to last for enough answers to learn from.
    """

    limits_s: tuple[float, float]
    is_slow: bool = False

    def late(self, seen: Observed) -> float:
        """Share of the queries that broke a limit, of those that have shown it."""
        ttft_s, tpot_s = self.limits_s
        waited = seen.until - seen.due
        told = seen.done | (waited > ttft_s)
        bad = (np.minimum(seen.ttft, waited) > ttft_s) | (seen.done & (seen.tpot > tpot_s))
        return float(bad[told].mean()) if told.any() else 0.0

    def look(self, seen: Observed) -> str:
        """Why to end it; empty while it has shown too little."""
        least, most = _STAGE_S
        if seen.until < least or (seen.done.sum() < _STAGE_QUERIES and seen.until < most):
            return ""
        if self.is_slow and seen.done.sum() < _SLOW_QUERIES and seen.until < _SLOW_S:
            return ""
        return RAMP


@dataclass
class RunWatch:
    """Looks at a run a few times, and says when to give it up for a better rate.

    Attributes:
        future: The legal run.
        confidence: How sure a run is to be VALID when it starts.
        qps: The rate of this one.
        learn: The model of what was seen before and of this run.
        say: Tells people.
        restarts: Runs that were given up before.
        may_go_up: Whether to give it up for a higher rate.
        better: The rate that it is given up for; None while it is not.
        predicted: The newest prediction of its end.
    """

    future: Future
    confidence: float
    qps: float
    learn: Callable[[Observed], Model]
    say: Callable[[str], None]
    restarts: int = 0
    may_go_up: bool = True
    better: float | None = None
    predicted: AgainstLimits | None = None
    _at: list[float] = field(init=False)
    _number: int = 0

    def __post_init__(self) -> None:
        self._at = looks_at(float(self.future.asked(self.qps)[0][-1]))

    def look(self, seen: Observed) -> str:
        """Why to give the run up; empty while it is good."""
        if self._number >= len(self._at) or seen.until < self._at[self._number]:
            return ""
        number, self._number = self._number, self._number + 1
        try:
            model = self.learn(seen)
            best = model.best(self.future, self.confidence, self.qps)
        except EngineError:  # the run may still be VALID, and ends where it cannot be
            return ""
        p = self._tell(model, best, seen.until)
        up = _UPWARD[number] * 2**self.restarts
        low_p, low_q = _DOWNWARD[number]
        if self.may_go_up and best > self.qps * (1 + up):
            self.better = best
            return f"a rate of {best:.4g} is likely to be VALID, too"
        if p < low_p and best < self.qps * low_q:
            self.better = best
            return f"VALID with a probability of {p:.0%}; {best:.4g} is better"
        return ""

    def _tell(self, model: Model, best: float, until: float) -> float:
        """Say what is predicted now; the probability that this run is VALID."""
        here, below, above = (model.p_valid(self.future, share * self.qps) for share in (1, 0.97, 1.03))
        self.predicted = model.judged(self.future, self.qps)
        self.say(
            f"{self.qps:.4g} queries/s, {until:.0f} s: P(VALID) {here:.0%} here, "
            f"{below:.0%} at {0.97 * self.qps:.4g}, {above:.0%} at {1.03 * self.qps:.4g}; best {best:.4g}"
        )
        return here
