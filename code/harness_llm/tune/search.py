"""The search for the highest VALID rate: a ramp; then the legal run itself is the probe, or is given up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from harness_llm.errors import EngineError, HostError
from harness_llm.tune.batching import StepLimits
from harness_llm.tune.future import AgainstLimits, Future
from harness_llm.tune.model import Model
from harness_llm.tune.seen_run import Integers, Observed

LOOKS_S = (60.0, 150.0, 300.0)
"""When a run is looked at, seconds after its begin; of shorter runs the same shares of 600 s."""
RAMP, RUN = "ramp", "run"
_WHOLE_S = 600.0
_STAGE_S, _STAGE_QUERIES = (8.0, 20.0), 60
_STAGES = 14
_MOST_GIVEN_UP, _MOST_UPWARD = 8, 3
_OTHERS_REFUSED, _OTHERS_TOLD = 0.5, 0.05


@dataclass(frozen=True, eq=False)
class Tried:
    """One try.

    Attributes:
        qps: Its rate.
        kind: `ramp` or `run`.
        seen: What was seen of it.
        gave_up: Why it was given up; empty if LoadGen ended it.
        others: Share of the host that others held meanwhile.
        valid: LoadGen's verdict; None where it gave none.
    """

    qps: float
    kind: str
    seen: Observed
    gave_up: str = ""
    others: float = 0.0
    valid: bool | None = None


class Engines(Protocol):
    """Loaded engines that may be asked again and again."""

    replicas: int
    limits: StepLimits

    def ask(self, qps: float, kind: str, look: Callable[[Observed], str]) -> Tried:
        """Begin the legal run at a rate; `look` is shown what came of it, and may say why to give it up."""


@dataclass(frozen=True)
class TunedRate:
    """What the search found.

    Attributes:
        qps: The rate of the VALID run; None where none was VALID.
        judged: How that run stood against the limits.
        even_qps: The rate at which half of the runs would be VALID.
        seeds_sd: Relative standard deviation of the best rate over other seeds of the schedule.
        seed_luck: The best rate of the official seed against their mean, relative.
        predicted: The model's verdict on that run, made before it ended.
        others: Share of the host that others held.
        whole_runs: Runs of full length.
    """

    qps: float | None
    judged: AgainstLimits | None = None
    even_qps: float = math.nan
    seeds_sd: float = math.nan
    seed_luck: float = math.nan
    predicted: AgainstLimits | None = None
    others: float = 0.0
    whole_runs: int = 0


@dataclass
class Search:
    """The search, over engines that are loaded.

    Attributes:
        engines: Who answers.
        future: The legal run.
        prompts: Prompt tokens of each sample.
        max_tokens: Most answer tokens of each sample.
        confidence: How sure the run is to be VALID when it begins.
        say: Tells people.
        tried: What was tried already, of earlier runs of the search as well.
        budget_s: When to begin no further run, s after the begin.
        elapsed: Seconds since the begin.
        heeds_others: Whether what others hold of the host matters; made-up engines only wait.
    """

    engines: Engines
    future: Future
    prompts: Integers
    max_tokens: Integers
    confidence: float
    say: Callable[[str], None]
    tried: list[Tried] = field(default_factory=list)
    budget_s: float = math.inf
    elapsed: Callable[[], float] = lambda: 0.0
    heeds_others: bool = True
    _predicted: AgainstLimits | None = None

    def learn(self, runs: Sequence[Observed]) -> Model:
        """The model of these runs."""
        return Model.learn(
            runs,
            self.prompts,
            self.max_tokens,
            self.engines.limits,
            self.engines.replicas,
            self.others if self.others >= _OTHERS_TOLD else 0.0,
        )

    def first_rate(self) -> float:
        """The rate to begin at: by what was seen before, else by a ramp.

        Raises:
            HostError: Others hold so much of the host that nothing can be told.
            EngineError: The limits are broken at any rate.
        """
        if self.heeds_others:
            self.tried = [tried for tried in self.tried if tried.others <= _OTHERS_REFUSED]
        if all(tried.kind == RAMP for tried in self.tried):
            self._ramp()
        self._check_others()
        model = self.learn([tried.seen for tried in self.tried])
        last = self.tried[-1].qps
        qps = _written(
            model.best(self.future, self.confidence, last / 2 if self.tried[-1].kind == RAMP else last)
        )
        self.say(
            f"step times fitted to {model.unexplained:.1%}; begins at {qps:.4g} queries/s "
            f"(spread {model.spread:.1%})"
        )
        return qps

    def find(self) -> TunedRate:
        """Search until a run of LoadGen's own length is VALID, or the budget is spent."""
        qps, restarts, upward, whole = self.first_rate(), 0, 0, 0
        while restarts <= _MOST_GIVEN_UP and self.elapsed() < self.budget_s:
            watch = _RunWatch(self, qps, restarts, may_go_up=upward < _MOST_UPWARD)
            tried = self.engines.ask(qps, RUN, watch.look)
            self.tried.append(tried)
            self._predicted = watch.predicted
            whole += not tried.gave_up or tried.seen.until > 0.95 * float(self.future.asked(qps)[0][-1])
            if not tried.gave_up:
                judged = self.future.judge(tried.seen.ttft, tried.seen.tpot)
                if judged.is_valid if tried.valid is None else tried.valid:
                    return self._told(qps, judged, whole)
                self.say(f"{qps:.4g} queries/s: INVALID; {judged.binds} binds")
            self._check_others()
            better = watch.better or self.learn(self._runs()).best(self.future, self.confidence, qps)
            upward += better > qps
            qps = _written(better if better > qps else min(0.985 * qps, better))
            restarts += 1
        return TunedRate(None, others=self.others, whole_runs=whole)

    def _runs(self) -> list[Observed]:
        return [tried.seen for tried in self.tried]

    def _told(self, qps: float, judged: AgainstLimits, whole: int) -> TunedRate:
        model = self.learn(self._runs())
        even = model.best(self.future, 0.5, qps)
        rates = np.array([model.best(self.future, 0.5, qps, seed) for seed in range(1, 5)])
        return TunedRate(
            qps,
            judged,
            even,
            float(rates.std(ddof=1) / rates.mean()),
            float(even / rates.mean() - 1),
            self._predicted,
            self.others,
            whole,
        )

    @property
    def others(self) -> float:
        """Share of the host that others held at most."""
        return max((tried.others for tried in self.tried), default=0.0) if self.heeds_others else 0.0

    def _check_others(self) -> None:
        if self.others > _OTHERS_REFUSED:
            raise HostError(
                f"others held {self.others:.0%} of the host's cores: what is measured now says nothing",
                "Run it again when the host is idle; what was tried meanwhile is kept and not learned from.",
            )
        if self.others >= _OTHERS_TOLD:
            self.say(f"note: others hold {self.others:.0%} of the host's cores; the margin is widened for it")

    def _ramp(self) -> None:
        """Raise the rate until half of the queries break a limit; each stage is the begin of a legal run."""
        qps = 0.5 * self.engines.replicas
        if self.tried:
            qps, late = self.tried[-1].qps, _Stage(self.future.limits_s, 0).late(self.tried[-1].seen)
            if late > 0.5:
                return
            qps *= 2 if late else 4
        for _ in range(_STAGES):
            stage = _Stage(self.future.limits_s, qps)
            tried = self.engines.ask(qps, RAMP, stage.look)
            self.tried.append(tried)
            self.say(f"ramp: {qps:g} queries/s, {stage.late(tried.seen):.0%} over a limit")
            if stage.late(tried.seen) > 0.5 or not tried.gave_up:
                if len(self.tried) == 1 and tried.gave_up:
                    raise EngineError(
                        f"at {qps:g} queries/s {stage.late(tried.seen):.0%} of the queries break a limit",
                        "Loosen ttft_latency or tpot_latency in user.conf, or use a faster engine.",
                    )
                return
            qps *= 2 if stage.late(tried.seen) else 4


def _written(qps: float) -> float:
    """A rate as people write it."""
    return float(f"{qps:.4g}")


@dataclass
class _Stage:
    """One stage of the ramp."""

    limits_s: tuple[float, float]
    qps: float

    def late(self, seen: Observed) -> float:
        """Share of the queries that broke a limit, of those of which it can be told."""
        overdue = seen.until - seen.due > self.limits_s[0]
        told = seen.done | overdue
        bad = (np.minimum(seen.ttft, seen.until - seen.due) > self.limits_s[0]) | (
            seen.done & (seen.tpot > self.limits_s[1])
        )
        return float(bad[told].mean()) if told.any() else 0.0

    def look(self, seen: Observed) -> str:
        least, most = _STAGE_S
        if seen.until < least or (seen.done.sum() < _STAGE_QUERIES and seen.until < most):
            return ""
        return RAMP


class _RunWatch:
    """Looks at a run a few times, and says when to give it up for a better rate."""

    def __init__(self, search: Search, qps: float, restarts: int, *, may_go_up: bool) -> None:
        self.search, self.qps, self.restarts, self.may_go_up = search, qps, restarts, may_go_up
        self.better: float | None = None
        self.predicted: AgainstLimits | None = None
        length = float(search.future.asked(qps)[0][-1])
        scale = min(1.0, length / _WHOLE_S)
        self.looks = [(number, at * scale) for number, at in enumerate(LOOKS_S) if at * scale < 0.7 * length]

    def look(self, seen: Observed) -> str:
        """Why to give the run up; empty while it is good."""
        if not self.looks or seen.until < self.looks[0][1]:
            return ""
        number, _ = self.looks.pop(0)
        search, qps = self.search, self.qps
        try:
            model = search.learn([*search._runs(), seen])
        except EngineError:
            return ""
        best = model.best(search.future, search.confidence, qps)
        p = model.p_valid(search.future, qps)
        self.predicted = model.judged(search.future, qps)
        search.say(
            f"{qps:.4g} queries/s, {seen.until:.0f} s: P(VALID) {p:.0%} here, "
            f"{model.p_valid(search.future, 0.97 * qps):.0%} at {0.97 * qps:.4g}, "
            f"{model.p_valid(search.future, 1.03 * qps):.0%} at {1.03 * qps:.4g}; best {best:.4g}"
        )
        up = (0.02, 0.03, 0.10)[number] * 2**self.restarts
        low_p, low_q = ((0.05, 0.98), (0.2, 0.995), (0.05, 0.995))[number]
        if self.may_go_up and best > qps * (1 + up):
            self.better = best
            return f"a rate of {best:.4g} is likely to be VALID, too"
        if p < low_p and best < qps * low_q:
            self.better = best
            return f"VALID with a probability of {p:.0%}; {best:.4g} is better"
        return ""
