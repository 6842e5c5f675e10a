"""Other fleets, predicted from a recorded run: more replicas, other limits of a step, other rates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from harness_llm.core import Mode, Scenario
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import ConfigError, FolderError
from harness_llm.results.events import read_events
from harness_llm.results.paths import EVENTS_NPY, RUN_JSON, SHARED_SAMPLES
from harness_llm.results.reading import read_record
from harness_llm.results.recompute import percentile
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import TestFolder
from harness_llm.tune.batching import BOUNDS, StepLimits
from harness_llm.tune.combinations import combinations, named
from harness_llm.tune.future import Future, whole_ns
from harness_llm.tune.learning import learn
from harness_llm.tune.model import Model
from harness_llm.tune.offline import steady
from harness_llm.tune.seen_run import Floats, Integers, Observed
from harness_llm.tune.tries import RecordedEngines, require_same_samples

_SURE = 0.9
_RUNS = 9
"""Simulated runs of a prediction."""
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
    """

    qps: float
    tokens_per_s: float
    ttft_s: tuple[float, float]
    tpot_s: tuple[float, float]
    over: tuple[int, int]
    allowed: int
    p_valid: float | None = None

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
            FolderError: It has no complete performance test of Server or Interactive.
            EngineError: Too few samples were answered to learn from.
        """
        if not (run / RUN_JSON).exists():
            raise FolderError(f"{run}: not a run folder", "Give a folder that `harness-llm run` printed.")
        done = read_record(run / RUN_JSON, RunRecord).by_scenario()
        wanted = [scenario] if scenario else [each for each in Scenario if each.is_timed_per_token]
        tests = [
            run / each / Mode.PERFORMANCE.folder
            for each in wanted
            if Mode.PERFORMANCE.folder in done.get(each, ())
        ]
        tests = [test for test in tests if TestFolder(test).is_complete]
        if not tests:
            raise FolderError(
                f"{run}: has no complete performance test of {' or '.join(wanted)}",
                "Give a run that has one: Offline's events have no first tokens, so steps cannot be told.",
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
        model = learn(
            [seen],
            np.asarray(table.prompt_lengths, np.int64),
            np.asarray(table.max_tokens, np.int64),
            engines.limits,
            engines.replicas,
        )
        future = Future(record.requested_settings, len(table))
        return cls(model, future, record.target_qps, seen, engines.replicas, run, table.digest)

    def fleet(self, replicas: int, speeds: Sequence[float], limits: StepLimits) -> Model:
        """The same engines in another number.

        Args:
            replicas: How many.
            speeds: By replica, relative to this run's mean, above 1 faster; empty where all are alike.
            limits: Of a step.

        Raises:
            ConfigError: The speeds are not one for each replica.
        """
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
        """A run of a fleet at a rate."""
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

    def highest(self, model: Model, replicas: int) -> float:
        """The highest rate of a fleet that is VALID with 90 %, whatever the seed of the schedule."""
        return model.best(self.future, _SURE, self.qps * replicas / self.replicas, _SCHEDULES)

    def offline(self, model: Model) -> Throughput:
        """An Offline run of a fleet that lasts as long as the recorded test had to."""
        sets = 1
        least_s = int(self.future.settings["min_duration_ms"]) / 1000
        while True:
            found = Throughput.of(self._pulled(model, self.future.order(sets * self.future.samples)))
            if found.seconds >= least_s:
                return found
            sets = max(sets + 1, math.ceil(sets * least_s / found.seconds))

    @staticmethod
    def _pulled(model: Model, order: Integers) -> Observed:
        """A run that is asked all at once, from which replicas pull at the default depth."""
        return model.run(np.zeros(len(order)), order, pulled=2 * model.limits.requests)


def settings_of(texts: Sequence[str], base: StepLimits) -> Iterator[tuple[str, StepLimits]]:
    """Every combination of what was set, with its name.

    Args:
        texts: Such as `max_num_seqs=64,128`.
        base: What holds where nothing is set.

    Raises:
        ConfigError: A setting is unknown, or its values are not numbers.
    """
    for values in combinations("--set", texts):
        if unknown := [key for key in values if key not in BOUNDS]:
            raise ConfigError(
                f"--set {unknown[0]}: cannot be simulated",
                f"Give one of {', '.join(BOUNDS)}; what changes the time of a step must be measured.",
            )
        yield named(values) or "as recorded", base.bounded(values)
