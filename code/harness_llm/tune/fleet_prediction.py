"""Other fleets, predicted from a recorded run: more replicas, other limits of a step, other rates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from harness_llm.core import Mode, Scenario
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import ConfigError, EngineError, FolderError
from harness_llm.logs.schedule import MOST_QUERIES
from harness_llm.results.events import read_events
from harness_llm.results.paths import EVENTS_NPY, RUN_JSON, SHARED_SAMPLES
from harness_llm.results.reading import read_record
from harness_llm.results.recompute import percentile
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import TestFolder, state_of
from harness_llm.tune.batching import BOUNDS, StepLimits
from harness_llm.tune.combinations import combinations, named
from harness_llm.tune.future import Future, whole_ns
from harness_llm.tune.learning import learn
from harness_llm.tune.model import Model
from harness_llm.tune.offline import steady
from harness_llm.tune.seen_run import Floats, Integers, Observed
from harness_llm.tune.tries import RecordedEngines, require_run, require_same_samples

SURE = 0.9
"""Share of the runs that are VALID at the highest rate, where less does not gain much."""
_RUNS = 9
"""Simulated runs of a prediction."""
_MOST_REPLICAS, _LONGEST_S = 1024, 1e9
"""What can be simulated: the cost grows with queries times replicas; times in ns are 64 bits."""
_SCHEDULES = (None, 1, 2, 3, 4)
"""Seeds of schedules: of another fleet, nobody should count on the luck of one."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it is predicted, or as it was.

    Attributes:
        qps: Its rate, samples/s.
        tokens_per_s: Output tokens of all samples, by the length of the run.
        ttft_s: p50 and p99.
        tpot_s: p50 and p99.
        over: Samples over the limit of TTFT and of TPOT.
        allowed: How many may be.
        p_valid: Probability of VALID; None of a run that was.
        confidence: With which the rate is the highest that is VALID; None where it was given.
    """

    qps: float
    tokens_per_s: float
    ttft_s: tuple[float, float]
    tpot_s: tuple[float, float]
    over: tuple[int, int]
    allowed: int
    p_valid: float | None = None
    confidence: float | None = None

    @classmethod
    def of(cls, seen: Observed, future: Future, qps: float) -> Self:
        """Of a whole run."""
        judged = future.judge(seen.ttft, seen.tpot)
        return cls(
            qps=qps,
            tokens_per_s=float(seen.tokens[seen.done].sum() / seen.finish[seen.done].max()),
            ttft_s=_percentiles(seen.ttft),
            tpot_s=_percentiles(seen.tpot),
            over=(judged.ttft.over, judged.tpot.over),
            allowed=judged.ttft.allowed,
        )

    @classmethod
    def simulated(cls, model: Model, asked: tuple[Floats, Integers], future: Future, qps: float) -> Self:
        """Of a few simulated runs, the median of each figure: steps vary, and pauses come or do not."""
        runs = [cls.of(model.run(*asked, seed=seed), future, qps) for seed in range(1, 1 + _RUNS)]

        def middle(figures: Sequence[tuple[float, ...]]) -> list[float]:
            return [float(value) for value in np.median(np.array(figures), axis=0)]

        ttft, tpot = middle([run.ttft_s for run in runs]), middle([run.tpot_s for run in runs])
        over = middle([run.over for run in runs])
        return cls(
            qps=qps,
            tokens_per_s=float(np.median([run.tokens_per_s for run in runs])),
            ttft_s=(ttft[0], ttft[1]),
            tpot_s=(tpot[0], tpot[1]),
            over=(round(over[0]), round(over[1])),
            allowed=runs[0].allowed,
        )


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """An Offline run as it is predicted, or as it was.

    Attributes:
        samples: How many.
        seconds: How long it lasts.
        tokens_per_s: Output tokens.
        steady_share: Its rate against that between the first and the last tenth of the answers.
    """

    samples: int
    seconds: float
    tokens_per_s: float
    steady_share: float

    @classmethod
    def of(cls, seen: Observed) -> Self:
        """Of a whole run."""
        ends = np.sort(seen.finish)
        seconds, held_rate = float(ends[-1]), steady(ends)
        return cls(
            samples=len(ends),
            seconds=seconds,
            tokens_per_s=float(seen.tokens.sum()) / seconds,
            steady_share=len(ends) / seconds / held_rate if held_rate else 1.0,
        )

    @property
    def samples_per_s(self) -> float:
        """LoadGen's figure."""
        return self.samples / self.seconds


def _percentiles(values: Floats) -> tuple[float, float]:
    whole = whole_ns(values)
    return percentile(whole, 0.5) / 1e9, percentile(whole, 0.99) / 1e9


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a run folder says of its Server or Interactive tests.

    Attributes:
        model: The engine, as the tests showed it.
        future: What LoadGen asks in its performance test.
        qps: The rate of that.
        seen: That test itself.
        replicas: How many answered.
        run: The folder.
        digest: Of its sample table.
    """

    model: Model
    future: Future
    qps: float
    seen: Observed
    replicas: int
    run: Path
    digest: str

    @classmethod
    def read(cls, run: Path, scenario: Scenario | None = None) -> Self:
        """Read a run folder.

        Args:
            run: The run folder.
            scenario: Server or Interactive; None for the one that it has.

        Raises:
            ConfigError: It has both, and none is named.
            FolderError: It has no complete performance test of Server or Interactive, or one in which too
                few samples were answered to learn from.
        """
        require_run(run)
        ran = read_record(run / RUN_JSON, RunRecord)
        done, (state, why) = ran.by_scenario(), state_of(run, ran)
        wanted = [scenario] if scenario else [each for each in Scenario if each.is_timed_per_token]
        asked = [
            run / each / Mode.PERFORMANCE.folder
            for each in wanted
            if Mode.PERFORMANCE.folder in done.get(each, ())
        ]
        tests = [test for test in asked if TestFolder(test).is_complete]
        if not tests:
            because = "" if state == "complete" else f"; the run is {state}" + (f": {why}" if why else "")
            offline = ": Offline's events have no first tokens, so steps cannot be told"
            raise FolderError(
                f"{run}: has no complete performance test of {' or '.join(wanted)}{because}",
                f"Give a run that has one{offline if Scenario.OFFLINE in done and not asked else ''}.",
            )
        if len(tests) > 1:
            raise ConfigError(
                f"{run}: has tests of {' and '.join(wanted)}", f"Choose one, e.g. --scenario {wanted[0]}."
            )
        (folder,) = tests
        record = TestFolder(folder).record()
        table = SampleTable.load(run / SHARED_SAMPLES)
        engines = RecordedEngines.of(folder)
        seen = Observed.of_test(folder)
        try:
            model = learn(
                [seen],
                np.asarray(table.prompt_lengths, np.int64),
                np.asarray(table.max_tokens, np.int64),
                engines.limits,
                engines.replicas,
            )
        except EngineError as error:
            raise FolderError(f"{folder}: {error.message}", "Give a longer run.") from error
        future = Future(record.requested_settings, len(table))
        return cls(model, future, record.target_qps, seen, engines.replicas, run, table.digest)

    def fleet(self, replicas: int, speeds: Sequence[float], limits: StepLimits) -> Model:
        """The same engines in another number.

        Args:
            replicas: How many.
            speeds: By replica, relative to this run's mean, above 1 faster; empty where all are alike.
            limits: Of a step.

        Raises:
            ConfigError: The speeds are not one for each replica, or there are too many replicas.
        """
        if replicas > _MOST_REPLICAS:
            raise ConfigError(
                f"{replicas:,} replicas: at most {_MOST_REPLICAS:,} can be simulated", "Give fewer."
            )
        if speeds and len(speeds) != replicas:
            raise ConfigError(
                f"--speeds: not one number per replica (speeds: {len(speeds)}, replicas: {replicas})",
                "Write 1,1,0.97 for three replicas.",
            )
        mean = float(self.model.slowness.mean())
        relative = 1 / np.array(speeds) if speeds else np.ones(replicas)
        own = self.model.slowness if replicas == len(self.model.slowness) and not speeds else mean * relative
        return replace(self.model, slowness=own, limits=limits)

    def predict(self, model: Model, qps: float) -> Prediction:
        """A run of a fleet at a rate.

        Raises:
            ConfigError: At that rate, it has too many queries.
        """
        self._check_length(qps)
        said = Prediction.simulated(model, self.future.asked(qps), self.future, qps)
        return msgspec.structs.replace(said, p_valid=model.p_valid(self.future, qps, _SCHEDULES))

    def beside(self, real: Recorded, speeds: Sequence[float] = ()) -> tuple[Prediction, Prediction]:
        """Another run as it is predicted by this one, and as it was.

        Args:
            real: The other run.
            speeds: Of its replicas; see `fleet`.

        Raises:
            ConfigError: They have different data sets, or the speeds are not one for each replica.
        """
        require_same_samples(real.run, self.digest)
        model = self.fleet(real.replicas, speeds, real.model.limits)
        said = Prediction.simulated(model, real.future.asked(real.qps), real.future, real.qps)
        return said, Prediction.of(real.seen, real.future, real.qps)

    def beside_offline(self, real: Path, speeds: Sequence[float] = ()) -> tuple[Throughput, Throughput]:
        """An Offline run as this one predicts it, of the same samples in the same order, and as it was.

        Args:
            real: Its run folder.
            speeds: Of its replicas; see `fleet`.

        Raises:
            ConfigError: They have different data sets, or the speeds are not one for each replica.
            FolderError: It has no complete performance test of Offline.
        """
        folder = real / Scenario.OFFLINE / Mode.PERFORMANCE.folder
        if not TestFolder(folder).is_complete:
            raise FolderError(
                f"{real}: has no complete performance test of Offline", "Give a run that has one."
            )
        require_same_samples(real, self.digest)
        engines, events = RecordedEngines.of(folder), read_events(folder / EVENTS_NPY)
        was = Observed.of_events(events, events["issued_ns"])
        said = self._pulled(self.fleet(engines.replicas, speeds, engines.limits), was.sample)
        return Throughput.of(said), Throughput.of(was)

    def highest(self, model: Model) -> Prediction:
        """A run of a fleet at the rate where `tune` would start, whatever the seed of the schedule.

        Raises:
            ConfigError: So many replicas are asked too many queries.
            EngineError: The limits are broken at any rate.
        """
        around = self.qps * len(model.slowness) / self.replicas
        self._check_length(around)
        qps, confidence = model.best_with(self.future, SURE, around, _SCHEDULES)
        return msgspec.structs.replace(self.predict(model, qps), confidence=confidence)

    def _check_length(self, qps: float) -> None:
        """Refuse a rate at which a run has too many queries, or lasts for decades."""
        settings = self.future.settings
        queries = max(int(settings["min_query_count"]), qps * int(settings["min_duration_ms"]) / 1000)
        if queries > MOST_QUERIES or queries / qps > _LONGEST_S:
            raise ConfigError(
                f"{qps:g} samples/s: a run of {queries:,.0f} queries and {queries / qps:,.0f} s; "
                f"at most {MOST_QUERIES:,} and {_LONGEST_S:,.0f} s can be simulated",
                "Give another rate, or fewer replicas.",
            )

    def offline(self, model: Model) -> Throughput:
        """An Offline run of a fleet that lasts as long as the recorded test had to.

        Raises:
            ConfigError: That takes too many samples.
        """
        sets = 1
        least_s = int(self.future.settings["min_duration_ms"]) / 1000
        while sets * self.future.samples <= MOST_QUERIES:
            found = Throughput.of(self._pulled(model, self.future.order(sets * self.future.samples)))
            if found.seconds >= least_s:
                return found
            sets = max(sets + 1, math.ceil(sets * least_s / found.seconds))
        raise ConfigError(
            f"Offline: {sets * self.future.samples:,} samples in {least_s:g} s; "
            f"at most {MOST_QUERIES:,} can be simulated",
            "Give fewer replicas, or lower --speeds.",
        )

    @staticmethod
    def _pulled(model: Model, order: Integers) -> Observed:
        """A run that is asked all at once, from which replicas pull at the default depth."""
        return model.run(np.zeros(len(order)), order, pulled=2 * model.limits.requests)


def marker_of_runs(*runs: Path) -> str:
    """The mark to show beside every number of these runs; may be empty."""
    markers = (read_record(run / RUN_JSON, RunRecord).marker for run in runs)
    return "; ".join(dict.fromkeys(filter(None, markers)))


def settings_of(
    texts: Sequence[str], base: StepLimits, others: Mapping[str, str] | None = None
) -> Iterator[tuple[str, StepLimits]]:
    """Every combination of what was set, with its name.

    Args:
        texts: Such as `max_num_seqs=64,128`.
        base: What holds where nothing is set.
        others: What else differs from the recorded run; part of each name.

    Raises:
        ConfigError: A setting is unknown, or its values are not numbers.
    """
    for values in combinations("--set", texts):
        if unknown := [key for key in values if key not in BOUNDS]:
            raise ConfigError(
                f"--set {unknown[0]}: cannot be simulated",
                f"Give one of {', '.join(BOUNDS)}; what changes the time of a step must be measured.",
            )
        yield named({**(others or {}), **values}) or "as recorded", base.bounded(values)
