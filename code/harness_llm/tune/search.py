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
from harness_llm.tune.giving_up import RAMP, RUN, RampStage, RunWatch, looks_at
from harness_llm.tune.learning import learn
from harness_llm.tune.model import Model
from harness_llm.tune.seen_run import Integers, Observed

PROBE = "a probe"
"""Why a run is given up that was only to show how engines answer."""
_PROBE_S, _PROBE_SHARE = 20.0, 0.4  # a probe of a short test lasts at least so long, and so much of it
_STAGES, _FIRST_QPS, _LOWEST = 14, 0.5, 4  # of the ramp; it may go down to that part of its first rate
_MOST_GIVEN_UP, _MOST_UPWARD = 8, 3
_FURTHEST_DOWN = 0.75
"""After a lost run, the next rate is at least this share of its rate: an estimate from one lost run is
volatile, and the first VALID run ends the search."""
_OTHERS_REFUSED, _OTHERS_TOLD = 0.5, 0.05


@dataclass(frozen=True, eq=False)
class Tried:
    """One try.

    Attributes:
        qps: Its rate.
        kind: See `giving_up`.
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

    @property
    def replicas(self) -> int:
        """How many answer."""

    @property
    def limits(self) -> StepLimits:
        """What bounds a step of one."""

    def ask(self, qps: float, kind: str, look: Callable[[Observed], str]) -> Tried:
        """Start the legal run at a rate; `look` is shown what came of it, and may say why to give it up."""


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
        confidence: How sure the run is to be VALID when it starts.
        say: Tells people.
        tried: What was tried already, of earlier runs of the search as well.
        stops: Why no further run is started; empty while one may be.
        heeds_others: Whether what others hold of the host matters; made-up engines only wait.
    """

    engines: Engines
    future: Future
    prompts: Integers
    max_tokens: Integers
    confidence: float
    say: Callable[[str], None]
    tried: list[Tried] = field(default_factory=list)
    stops: Callable[[], str] = lambda: ""
    heeds_others: bool = True
    _predicted: AgainstLimits | None = None

    def learn(self, runs: Sequence[Observed]) -> Model:
        """The model of these runs."""
        return learn(
            runs,
            self.prompts,
            self.max_tokens,
            self.engines.limits,
            self.engines.replicas,
            self.others if self.others >= _OTHERS_TOLD else 0.0,
        )

    def first_rate(self) -> float:
        """The rate to start at: by what was seen before, else by a ramp.

        Raises:
            HostError: Others hold so much of the host that nothing can be learned.
            EngineError: The limits are broken at any rate.
        """
        if self.heeds_others:
            self.tried = [tried for tried in self.tried if tried.others <= _OTHERS_REFUSED]
        if all(tried.kind == RAMP for tried in self.tried):
            self._ramp()
        self._check_others()
        last = self.tried[-1]
        best, least = self.best(last.qps), written(_FURTHEST_DOWN * last.qps)
        if last.kind != RUN or last.gave_up == PROBE or best >= least:
            return best
        self.say(f"{least:.4g} queries/s is tried first; the last run was at {last.qps:.4g}")
        return least

    def _next_rate(self, qps: float) -> float:
        """The best rate after a run that was given up or INVALID; a lower one where the model knows none."""
        try:
            return self.model().best(self.future, self.confidence, qps)
        except EngineError:
            return 0.95 * qps

    def model(self) -> Model:
        """The model of all that was seen."""
        return self.learn(self._runs())

    def best(self, around: float) -> float:
        """The highest rate that is VALID with the confidence, by all that was seen."""
        model = self.model()
        qps = written(model.best(self.future, self.confidence, around))
        self.say(
            f"step times fitted to {model.unexplained:.1%}, with a spread of {model.spread:.1%} by run: "
            f"{qps:.4g} queries/s is VALID with {model.p_valid(self.future, qps):.0%}"
        )
        return qps

    def find(self) -> TunedRate:
        """Search until a run of LoadGen's own length is VALID, or the budget is spent."""
        qps, restarts, upward, whole = self.first_rate(), 0, 0, 0
        while restarts <= _MOST_GIVEN_UP and not self.stops():
            watch = RunWatch(
                self.future,
                self.confidence,
                qps,
                lambda seen: self.learn([*self._runs(), seen]),
                self.say,
                restarts,
                may_go_up=upward < _MOST_UPWARD,
            )
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
            better = watch.better or self._next_rate(qps)
            upward += better > qps
            qps = written(better if better > qps else max(_FURTHEST_DOWN * qps, min(0.985 * qps, better)))
            restarts += 1
        return TunedRate(None, others=self.others, whole_runs=whole)

    def probe(self, qps: float) -> Tried:
        """The start of the legal run at a rate, until the first look, or for 20 s of a short run.

        A probe already made is reused.
        """
        for tried in self.tried:
            if tried.kind == RUN and tried.qps == qps:
                return tried
        length_s = float(self.future.asked(qps)[0][-1])
        until = max(looks_at(length_s)[0], min(_PROBE_S, _PROBE_SHARE * length_s))
        self.tried.append(self.engines.ask(qps, RUN, lambda seen: PROBE if seen.until >= until else ""))
        self._check_others()
        return self.tried[-1]

    def _runs(self) -> list[Observed]:
        return [tried.seen for tried in self.tried]

    def _told(self, qps: float, judged: AgainstLimits, whole: int) -> TunedRate:
        model = self.model()
        even = _even(model, self.future, qps)
        rates = np.array([_even(model, self.future, qps, seed) for seed in range(1, 5)])
        rates = rates[np.isfinite(rates)] if np.isfinite(rates).sum() > 1 else np.full(2, np.nan)
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
        self._refuse_others()
        if self.others >= _OTHERS_TOLD:
            self.say(f"note: others hold {self.others:.0%} of the host's cores; the margin is widened for it")

    def _refuse_others(self) -> None:
        if self.others > _OTHERS_REFUSED:
            raise HostError(
                f"others held {self.others:.0%} of the host's cores: what is measured now says nothing",
                "Run it again when the host is idle; what was tried meanwhile is kept and not learned from.",
            )

    def _ramp(self) -> None:
        """Raise the rate until half of the queries break a limit; each stage is the start of a legal run.

        Where already at the first rate half of them do, it is lowered until less do.
        """
        stages = [(tried.qps, RampStage(self.future.limits_s).late(tried.seen)) for tried in self.tried]
        for _ in range(_STAGES):
            qps = self._next_stage(stages)
            if qps is None:
                return
            stage = RampStage(self.future.limits_s, qps < _FIRST_QPS * self.engines.replicas)
            tried = self.engines.ask(qps, RAMP, stage.look)
            self.tried.append(tried)
            stages.append((qps, stage.late(tried.seen)))
            self.say(f"ramp: {qps:g} queries/s, {stages[-1][1]:.0%} over a limit")
            self._refuse_others()
            if not tried.gave_up:
                return

    def _next_stage(self, stages: Sequence[tuple[float, float]]) -> float | None:
        """The rate of the ramp's next stage, by those before; None where they show enough."""
        first = _FIRST_QPS * self.engines.replicas
        if not stages:
            return first
        qps, late = stages[-1]
        is_late = {share > 0.5 for _, share in stages}
        if len(is_late) == 2:
            return None
        if late <= 0.5:
            return qps * (2 if late else 4)
        if qps > first / _LOWEST:
            return qps / 4
        busy = self.others >= _OTHERS_TOLD
        raise EngineError(
            f"at {qps:g} queries/s {late:.0%} of the queries break a limit"
            + (f"; others held {self.others:.0%} of the host's cores" if busy else ""),
            ("Run it again when the host is idle. Or loosen" if busy else "Loosen")
            + " ttft_latency or tpot_latency in user.conf, or use a faster engine.",
        )


def written(qps: float) -> float:
    """A rate as people write it."""
    return float(f"{qps:.4g}")


def _even(model: Model, future: Future, around: float, schedule: int | None = None) -> float:
    """The rate at which half of the runs are VALID; not a number where there is none."""
    found = model.highest(future, 0.5, around, (schedule,))
    return math.nan if found is None else found
