"""An engine as its runs showed it, and what that says of runs that have not been."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

import numpy as np

from harness_llm.errors import EngineError
from harness_llm.logs.early_stopping import min_queries
from harness_llm.tune.batching import Noise, StepLimits, simulate
from harness_llm.tune.future import AgainstLimits, Future
from harness_llm.tune.seen_run import Floats, Integers, Observed

_SHORT_OF_ONE = 1.01
_FAR, _DOWN = 64.0, 1.08
_LESS_SURE, _WORTH_MORE = (0.7, 0.5, 0.3), 1.25
_RUNS = 10
"""Simulated runs that give the probability of VALID."""


@dataclass(frozen=True, eq=False)
class Model:
    """An engine, as its runs showed it.

    Attributes:
        costs: Seconds of a step by its terms.
        slowness: By replica, how many times as long as the fit its steps took in the newest run.
        spread: How much a run may differ from that, relative standard deviation.
        noise: Of single steps.
        latency_s: Between the end of a step and its report.
        limits: Of a step.
        answers: Answer tokens of each sample of the data set, as seen, or as likely where not.
        prompts: Prompt tokens of each sample.
        most: Most answer tokens of each sample, by which the router counts.
        unexplained: Relative spread of answers' durations around the fit.
    """

    costs: Floats
    slowness: Floats
    spread: float
    noise: Noise
    latency_s: float
    limits: StepLimits
    answers: Integers
    prompts: Integers
    most: Integers
    unexplained: float

    def run(
        self, due: Floats, samples: Integers, *, slower: float = 1.0, seed: int = 1,
        noise: Noise | None = None,
        tokens: Integers | None = None, until: float = np.inf, pulled: int = 0,
    ) -> Observed:  # fmt: skip
        """A run as the model has it.

        Args:
            due: When each query is due, s.
            samples: The sample of each.
            slower: How much longer steps take than in the newest run.
            seed: Of the noise.
            noise: Of the steps; None for what was learned, with pauses.
            tokens: Answer tokens of each query; None for what each sample's answer had.
            until: When to stop.
            pulled: Queries that a replica holds, of Offline; 0 for Server.
        """
        prompt, tokens = self.prompts[samples], self.answers[samples] if tokens is None else tokens
        first, finish, replica = simulate(
            due,
            prompt,
            tokens,
            self.costs,
            self.slowness * slower,
            self.limits,
            self.noise if noise is None else noise,
            self.latency_s,
            seed,
            until,
            load=prompt + self.most[samples],
            pulled=pulled,
        )
        last = finish[np.isfinite(finish)]
        return Observed(
            due, first, finish, replica, samples, prompt, tokens, float(last.max()) if last.size else 0.0
        )

    def judged(
        self, future: Future, qps: float, *, slower: float = 1.0, seed: int = 1, schedule: int | None = None
    ) -> AgainstLimits:
        """LoadGen's verdict on a whole run at a rate, by the test's own schedule or that of another seed."""
        seen = self.run(*future.asked(qps, schedule), slower=slower, seed=seed)
        return future.judge(seen.ttft, seen.tpot)

    def p_valid(self, future: Future, qps: float, schedules: Sequence[int | None] = (None,)) -> float:
        """Share of runs at a rate that are VALID, their speeds varied by the estimated spread."""
        return 1 - sum(self._failed(future, qps, schedules)) / _RUNS

    def _failed(self, future: Future, qps: float, schedules: Sequence[int | None]) -> Iterator[bool]:
        """Whether each of some runs at a rate is INVALID, the slowest first."""
        for number in range(_RUNS):
            slower = 1 + self.spread * NormalDist().inv_cdf(1 - (number + 0.5) / _RUNS)
            schedule = schedules[number % len(schedules)]
            judged = self.judged(future, qps, slower=slower, seed=number + 1, schedule=schedule)
            yield not judged.is_valid

    def passes(
        self, future: Future, qps: float, confidence: float, schedules: Sequence[int | None] = (None,)
    ) -> bool:
        """Whether a run at a rate is VALID with a confidence; ends as soon as it is known."""
        left = math.floor((1 - confidence) * _RUNS + 1e-9)
        for failed in self._failed(future, qps, schedules):
            left -= failed
            if left < 0:
                return False
        return True

    def best(
        self, future: Future, confidence: float, around: float, schedules: Sequence[int | None] = (None,)
    ) -> float:
        """The rate to start at; see `best_with`."""
        return self.best_with(future, confidence, around, schedules)[0]

    def best_with(
        self, future: Future, confidence: float, around: float, schedules: Sequence[int | None] = (None,)
    ) -> tuple[float, float]:
        """The highest rate that is VALID with a confidence, unless less of it gains much; and with which.

        If pauses can spoil a run at any rate, P(VALID) stays just below the confidence over a wide range of
        rates, and the highest rate above it is very low, or there is none. So one of a few lower confidences
        is accepted if its rate times that confidence is higher by a quarter.

        Args:
            future: The test.
            confidence: Share of the runs that must be VALID.
            around: Where to look first, queries/s.
            schedules: Seeds of the schedules that the runs have in turn; None is the test's own.

        Raises:
            EngineError: The limits are broken at any rate.
        """
        best, taken, worth = None, confidence, 0.0
        for sure in (confidence, *(lower for lower in _LESS_SURE if lower < confidence)):
            at = around if best is None else _WORTH_MORE * worth / sure
            if best is not None and not self.passes(future, at, sure, schedules):
                continue
            found = self.highest(future, sure, at, schedules)
            if found is not None and found * sure > _WORTH_MORE * worth:
                best, taken, worth = found, sure, found * sure
        if best is not None:
            return best, taken
        few, least = future.count(around / 2), min_queries(0)
        too_few = f"; a run of {few:,} queries is never VALID, one of {least} can be" if few < least else ""
        raise EngineError(
            f"no rate of {around / _FAR:.2g} queries/s or more is likely to be VALID{too_few}",
            f"Raise min_query_count in user.conf to {least} or more, or loosen ttft_latency or tpot_latency."
            if too_few
            else "Loosen ttft_latency or tpot_latency in user.conf, or find out why engines pause or vary.",
        )

    def highest(
        self, future: Future, sure: float, around: float, schedules: Sequence[int | None] = (None,)
    ) -> float | None:
        """The highest rate at which this share of the runs is VALID, within 1 %; None where there is none.

        Validity does not fall steadily with the rate: queries come in whole data sets, and of more queries a
        larger share may be late. So the search comes down from where none passes, and a rate counts only if
        the next one below passes, too.

        Args:
            future: The test.
            sure: Share of the runs that must be VALID.
            around: Where to look first, queries/s; it looks down to a 64th of it.
            schedules: Seeds of the schedules that the runs have in turn; None is the test's own.
        """
        passes = partial(self.passes, future, confidence=sure, schedules=schedules)
        high = around * 1.3
        while passes(high) and high < around * _FAR:
            high *= 1.3
        low = high / _DOWN
        while not passes(low) and low > around / _FAR:
            low /= _DOWN
        return _edge(passes, low, low * _DOWN) if low > around / _FAR else None

    def best_or_zero(self, future: Future, confidence: float, around: float) -> float:
        """As `best`; 0 where no rate is likely to be VALID."""
        try:
            return self.best(future, confidence, around)
        except EngineError:
            return 0.0


def _edge(passes: Callable[[float], bool], low: float, high: float) -> float:
    """The highest rate that passes, and the next below it, too; `low` passes and `high` does not."""
    while high / low > _SHORT_OF_ONE:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if passes(middle) else (low, middle)
    good: list[bool] = []
    for place, step in enumerate(np.arange(1.03, 0.955, -0.005)):
        good.append(passes(float(low * step)))
        if place >= 2 and good[place] and good[place - 2]:
            return float(low * (step + 0.01))
    return low * 0.97
