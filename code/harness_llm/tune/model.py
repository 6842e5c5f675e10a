"""What was learned of an engine from its runs, and what it says of runs that have not been."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from harness_llm.tune.batching import Noise, StepLimits, simulate
from harness_llm.tune.future import AgainstLimits, Future
from harness_llm.tune.seen_run import Floats, Integers, Observed
from harness_llm.tune.step_time import Equations, costs, equations

_BLOCK_S = 20.0  # run-to-run spread is told from how blocks of a run differ
_LEAST_SPREAD = 0.004
_UNKNOWN_SPREAD = 0.02  # where there are too few blocks to tell
_NOISES = (0.0, 0.02, 0.04, 0.07, 0.10, 0.15)
_PAUSES = Noise(pauses_per_s=1 / 250, pause_s=0.3)
_SHORT_OF_ONE = 1.01


@dataclass(frozen=True, eq=False)
class Model:
    """An engine, as its runs showed it.

    Attributes:
        costs: Seconds of a step by its terms.
        speeds: By replica, how much longer its steps took in the newest run.
        spread: How much the speed of a run may differ from that, relative standard deviation.
        noise: Of single steps.
        latency_s: Between the end of a step and its report.
        limits: Of a step.
        answers: Answer tokens of each sample of the data set, as seen, or as likely where not.
        prompts: Prompt tokens of each sample.
        unexplained: Relative spread of answers' durations around the fit.
    """

    costs: Floats
    speeds: Floats
    spread: float
    noise: Noise
    latency_s: float
    limits: StepLimits
    answers: Integers
    prompts: Integers
    unexplained: float

    @classmethod
    def learn(
        cls, runs: Sequence[Observed], prompts: Integers, max_tokens: Integers, limits: StepLimits,
        replicas: int, others: float = 0.0,
    ) -> Model:  # fmt: skip
        """Learn from all runs; the last one tells the speed.

        Args:
            runs: In the order in which they ran.
            prompts: Prompt tokens of each sample.
            max_tokens: Most answer tokens of each sample.
            limits: Of a step.
            replicas: How many there are.
            others: Share of the host that others held; the spread is widened by it.

        Raises:
            EngineError: Too little was answered.
        """
        known = {id(run): [(part, equations(part, limits.step_tokens)) for part in run.parts] for run in runs}
        found, unexplained = costs([each for parts in known.values() for _, each in parts])
        newest = next((run for run in reversed(runs) if known[id(run)]), runs[-1])
        speeds, ratios = np.full(replicas, 1.0), []
        fitted = known[id(newest)]
        common = sum(each.took.sum() for _, each in fitted) / sum(
            (each.did @ found).sum() for _, each in fitted
        )
        speeds[:] = common
        for part, each in fitted:
            if len(each.took) >= 200 and replicas > 1:
                speeds[int(part.replica[0])] = each.took.sum() / (each.did @ found).sum()
            ratios += _blocks(each, found)
        blocks = max(1.0, newest.until / _BLOCK_S)
        spread = float(np.std(ratios)) / math.sqrt(blocks) if len(ratios) > 1 else _UNKNOWN_SPREAD
        model = cls(
            found,
            speeds,
            math.hypot(max(_LEAST_SPREAD, spread), 0.1 * others),
            replace(_PAUSES, pauses_per_s=0.0),
            0.0,
            limits,
            _answers(runs, max_tokens),
            prompts,
            unexplained,
        )
        return model._with_noise(newest)._with_latency(newest)

    # ------------------------------------------------------------------ predicting

    def run(
        self, due: Floats, samples: Integers, *, slower: float = 1.0, seed: int = 1,
        noise: Noise | None = None,
        tokens: Integers | None = None, until: float = np.inf,
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
        """
        prompt, tokens = self.prompts[samples], self.answers[samples] if tokens is None else tokens
        first, finish, replica = simulate(
            due,
            prompt,
            tokens,
            self.costs,
            self.speeds * slower,
            self.limits,
            self.noise if noise is None else noise,
            self.latency_s,
            seed,
            until,
        )
        last = finish[np.isfinite(finish)]
        return Observed(
            due, first, finish, replica, samples, prompt, tokens, float(last.max()) if last.size else 0.0
        )

    def judged(self, future: Future, qps: float, *, slower: float = 1.0, seed: int = 1) -> AgainstLimits:
        """LoadGen's verdict on a whole run at a rate."""
        seen = self.run(*future.asked(qps), slower=slower, seed=seed)
        return future.judge(seen.ttft, seen.tpot)

    def p_valid(self, future: Future, qps: float, runs: int = 8) -> float:
        """Share of runs at a rate that are VALID, their speeds spread as they may be."""
        quantiles = ((number + 0.5) / runs for number in range(runs))
        factors = [1 + self.spread * NormalDist().inv_cdf(quantile) for quantile in quantiles]
        return sum(
            self.judged(future, qps, slower=factor, seed=number + 1).is_valid
            for number, factor in enumerate(factors)
        ) / len(factors)

    def best(
        self, future: Future, confidence: float, around: float, schedule_seed: int | None = None
    ) -> float:
        """The highest rate that is VALID with a confidence, within 1 %.

        Validity does not fall steadily with the rate: queries come in whole data sets, and of more queries a
        larger share may be late. So a rate counts only if the next one below passes, too.

        Args:
            future: The test.
            confidence: Share of the runs that must be VALID.
            around: Where to look first, queries/s.
            schedule_seed: Of another schedule; None for the test's own.
        """
        slower = 1 + self.spread * NormalDist().inv_cdf(confidence)

        def passes(qps: float) -> bool:
            due, samples = future.asked(qps, schedule_seed)
            runs = (self.run(due, samples, slower=slower, seed=seed) for seed in (1, 2, 3))
            return sum(future.judge(seen.ttft, seen.tpot).is_valid for seen in runs) >= 2

        low, high = around * 0.95, around * 1.05
        while not passes(low) and low > around / 1000:
            low, high = low / 1.3, low
        while passes(high) and high < around * 1000:
            low, high = high, high * 1.3
        while high / low > _SHORT_OF_ONE:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if passes(middle) else (low, middle)
        grid = low * np.arange(1.03, 0.955, -0.005)
        good = [passes(float(qps)) for qps in grid]
        for place in range(2, len(grid)):
            if good[place] and good[place - 2]:
                return float(grid[place - 2])
        return low * 0.97

    # ------------------------------------------------------------------ learning

    def _again(self, seen: Observed, noise: float = 0.0, seed: int = 1) -> Observed:
        tokens = np.where(seen.done, seen.tokens, self.answers[seen.sample])
        return self.run(seen.due, seen.sample, seed=seed, noise=Noise(noise), tokens=tokens, until=seen.until)

    def _with_noise(self, seen: Observed) -> Model:
        """With the step noise that gives the spread of TPOT that was seen, of a few."""
        ok = seen.done & (seen.tokens > 1)
        if ok.sum() < 60:
            return replace(self, noise=replace(_PAUSES, share=_NOISES[1]))

        def spread(run: Observed, kept: npt.NDArray[np.bool_]) -> float:
            return float(np.log(np.quantile(run.tpot[kept], 0.98) / np.quantile(run.tpot[kept], 0.6)))

        wanted, misses = spread(seen, ok), {}
        for noise in _NOISES:
            found = []
            for seed in (1, 2, 3):
                again = self._again(seen, noise, seed)
                kept = ok & again.done
                if kept.sum() >= 50:
                    found.append(spread(again, kept))
            misses[noise] = abs(float(np.median(found)) - wanted) if found else math.inf
        nearest = min(misses, key=lambda noise: misses[noise])
        return replace(self, noise=replace(_PAUSES, share=min(nearest, max(0.02, 0.5 * self.unexplained))))

    def _with_latency(self, seen: Observed) -> Model:
        """With the latency of reports, told from the lightest tenth of TTFT."""
        again = self._again(seen)
        both = np.isfinite(seen.first) & np.isfinite(again.first)
        if both.sum() < 10:
            return self
        more = np.quantile(seen.ttft[both], 0.1) - np.quantile(again.ttft[both], 0.1)
        return replace(self, latency_s=float(max(more, 0.0)))


def _blocks(each: Equations, found: Floats) -> list[float]:
    """How long blocks of a run took against the fit."""
    block = (each.ended / _BLOCK_S).astype(np.int64)
    expected = each.did @ found
    return [
        float(each.took[block == one].sum() / expected[block == one].sum())
        for one in np.unique(block)
        if (block == one).sum() > 10
    ]


def _answers(runs: Sequence[Observed], max_tokens: Integers) -> Integers:
    """Answer tokens of each sample: the last seen, else drawn from the others' shares of their limits."""
    tokens = np.zeros(len(max_tokens), np.int64)
    for run in runs:
        tokens[run.sample[run.done]] = run.tokens[run.done]
    known = tokens > 0
    shares = tokens[known] / max_tokens[known]
    drawn = np.random.RandomState(1).choice(shares, size=int((~known).sum()))
    tokens[~known] = np.clip(np.rint(drawn * max_tokens[~known]), 1, None)
    return tokens
