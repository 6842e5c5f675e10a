"""A model of an engine, learned from its runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from harness_llm.tune.batching import Noise, StepLimits
from harness_llm.tune.model import Model
from harness_llm.tune.seen_run import Floats, Integers, Observed
from harness_llm.tune.step_time import Equations, costs, equations

_BLOCK_S = 20.0  # run-to-run spread is told from how blocks of a run differ
_LEAST_SPREAD = 0.004
_UNKNOWN_SPREAD = 0.02  # where there are too few blocks to tell
_LEAST_OF_ONE = 200  # answers of a replica from which on its own speed is told
_NOISES = (0.0, 0.02, 0.04, 0.07, 0.10, 0.15)
# A pause is what a step takes longer than it should. How often one comes is told from those that were seen,
# and from a quarter of one beforehand, of usual length, as if a minute had been seen before.
_PAUSE_S, _PAUSE_TIMES, _BEFORE, _BEFORE_S, _USUAL_S = 0.1, 2.0, 0.25, 62.5, 0.3


def learn(
    runs: Sequence[Observed], prompts: Integers, max_tokens: Integers, limits: StepLimits, replicas: int,
    others: float = 0.0,
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
    known = [{int(part.replica[0]): equations(part, limits) for part in run.parts} for run in runs]
    found, unexplained = costs([each for parts in known for each in parts.values()])
    newest, parts = next(
        (run, parts) for run, parts in zip(reversed(runs), reversed(known), strict=True) if parts
    )
    spread = max(_LEAST_SPREAD, _spread([*parts.values()], found, newest.until))
    pauses = _pauses([each for parts in known for each in parts.values()], found)
    model = Model(
        found,
        _slowness(parts, found, replicas),
        math.hypot(spread, 0.1 * others),
        replace(pauses, pauses_per_s=0.0),
        0.0,
        limits,
        _answers(runs, max_tokens),
        prompts,
        max_tokens,
        unexplained,
    )
    model = replace(model, noise=replace(pauses, share=_noise(model, newest)))
    return replace(model, latency_s=_latency_s(model, newest))


def _slowness(parts: dict[int, Equations], found: Floats, replicas: int) -> Floats:
    """How many times as long as the fit says each replica's steps took."""
    took = {number: float(each.took.sum()) for number, each in parts.items()}
    expected = {number: float((each.did @ found).sum()) for number, each in parts.items()}
    slowness = np.full(replicas, sum(took.values()) / sum(expected.values()))
    for number, each in parts.items():
        if replicas > 1 and len(each.took) >= _LEAST_OF_ONE:
            slowness[number] = took[number] / expected[number]
    return slowness


def _spread(parts: Sequence[Equations], found: Floats, length_s: float) -> float:
    """How much a run differs from the next, by how its blocks differ against the fit."""
    ratios = []
    for each in parts:
        block, expected = (each.ended / _BLOCK_S).astype(np.int64), each.did @ found
        for one in np.unique(block):
            if (block == one).sum() > 10:
                ratios.append(each.took[block == one].sum() / expected[block == one].sum())
    if len(ratios) < 2:
        return _UNKNOWN_SPREAD
    return float(np.std(ratios)) / math.sqrt(max(1.0, length_s / _BLOCK_S))


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


def _again(model: Model, seen: Observed, noise: float = 0.0, seed: int = 1) -> Observed:
    """The same run as the model has it."""
    tokens = np.where(seen.done, seen.tokens, model.answers[seen.sample])
    return model.run(seen.due, seen.sample, seed=seed, noise=Noise(noise), tokens=tokens, until=seen.until)


def _pauses(parts: Sequence[Equations], found: Floats) -> Noise:
    """How often an engine that is busy pauses, and for how long."""
    more = [each.lasted - each.steps @ found for each in parts]
    long = np.concatenate(
        [
            extra[extra > np.maximum(_PAUSE_S, _PAUSE_TIMES * (each.lasted - extra))]
            for extra, each in zip(more, parts, strict=True)
        ]
    )
    count = _BEFORE + len(long)
    busy_s = _BEFORE_S + sum(float(each.lasted.sum()) for each in parts)
    return Noise(pauses_per_s=count / busy_s, pause_s=(_BEFORE * _USUAL_S + float(long.sum())) / count)


def _noise(model: Model, seen: Observed) -> float:
    """The step noise, of a few, that gives the spread of TPOT that was seen."""
    ok = seen.done & (seen.tokens > 1)
    if ok.sum() < 60:
        return _NOISES[1]

    def spread(run: Observed, kept: npt.NDArray[np.bool_]) -> float:
        return float(np.log(np.quantile(run.tpot[kept], 0.98) / np.quantile(run.tpot[kept], 0.6)))

    wanted, misses = spread(seen, ok), {}
    for noise in _NOISES:
        found = []
        for seed in (1, 2, 3):
            again = _again(model, seen, noise, seed)
            kept = ok & again.done
            if kept.sum() >= 50:
                found.append(spread(again, kept))
        misses[noise] = abs(float(np.median(found)) - wanted) if found else math.inf
    nearest = min(misses, key=lambda noise: misses[noise])
    return min(nearest, max(0.02, 0.5 * model.unexplained))


def _latency_s(model: Model, seen: Observed) -> float:
    """The latency of reports, told from the lightest tenth of TTFT."""
    again = _again(model, seen)
    both = np.isfinite(seen.first) & np.isfinite(again.first)
    if both.sum() < 10:
        return 0.0
    more = np.quantile(seen.ttft[both], 0.1) - np.quantile(again.ttft[both], 0.1)
    return float(max(more, 0.0))
