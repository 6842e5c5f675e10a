"""Engine arguments: what bounds a step is ranked by simulation, and only the best are loaded and compared.

All that are loaded start the legal run at the same rate, so the same samples come at the same times. What
decides is the highest VALID rate that each one's own events predict.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from harness_llm.config.harness import RunConfig
from harness_llm.errors import ConfigError, EngineError, FolderError, ReplicaLost
from harness_llm.results.reading import read_record, write_record
from harness_llm.results.record_base import Record
from harness_llm.results.study_folder import StudyFolder
from harness_llm.tune.batching import StepLimits
from harness_llm.tune.combinations import combinations, named
from harness_llm.tune.future import Future
from harness_llm.tune.model import Model
from harness_llm.tune.seen_run import Observed
from harness_llm.tune.tries import probe_of
from harness_llm.tune.tuning import Tuning, Wish, study_record
from harness_llm.views.live import View

AS_CONFIGURED = "as configured"
# Arguments that bound a step, which can be simulated; and what the simulated engine calls them.
_OF_SIMULATED = {
    "max_num_seqs": "harness_config.engine.concurrent",
    "max_num_batched_tokens": "harness_config.engine.batching.step_tokens",
}
_MOST_LOADED = 2  # beside what is configured
_RECORD = "arguments.json"


class Combination(Record, frozen=True, kw_only=True):
    """One combination of arguments, and what came of it.

    Attributes:
        values: By argument; empty of what is configured.
        simulated_qps: The highest VALID rate by simulation, the lowest of all predictions so far; None where
            it cannot be simulated.
        qps: The same by its own events; None where it was not loaded.
        spread: Of `qps`, relative standard deviation.
        problem: Why it could not be measured; empty where it was, or was not tried.
    """

    values: dict[str, str]
    simulated_qps: float | None = None
    qps: float | None = None
    spread: float = 0.0
    problem: str = ""

    @property
    def is_tried(self) -> bool:
        """Whether it was loaded, well or not."""
        return self.qps is not None or bool(self.problem)

    @property
    def label(self) -> str:
        """Its name."""
        return named(self.values) or AS_CONFIGURED

    def overrides(self, engine: str) -> list[str]:
        """As `--set` takes them, of a kind of engine."""
        names = _OF_SIMULATED if engine == "simulated" else {}
        return [
            f"{names.get(key) or (key if '.' in key else f'llm_config.{key}')}={value}"
            for key, value in self.values.items()
        ]

    def limits(self, base: StepLimits) -> StepLimits | None:
        """What bounds a step then; None where an argument changes the step itself."""
        if set(self.values) - set(_OF_SIMULATED):
            return None
        return base.bounded(self.values)


class ArgumentsRecord(Record, frozen=True, kw_only=True):
    """arguments.json: what is compared, and how far that came.

    Attributes:
        probe_qps: The rate at which each is asked; None before it is known.
        choices: All of them; the first is what is configured.
    """

    probe_qps: float | None = None
    choices: tuple[Combination, ...]

    @classmethod
    def blank(cls) -> ArgumentsRecord:
        """Of nothing."""
        return cls(choices=())


@dataclass(frozen=True)
class Compared:
    """One choice beside what is configured.

    Attributes:
        choice: Which.
        folder: Of its tries.
        ttft: Mean time to first token, as a ratio on equal arrivals; None where it was not loaded.
        tpot: Likewise, of the time of each further token.
    """

    choice: Combination
    folder: Path
    ttft: float | None = None
    tpot: float | None = None


def choices(texts: Sequence[str]) -> tuple[Combination, ...]:
    """Every combination of what is to be tried; what is configured first.

    Args:
        texts: Such as `max_num_seqs=64,128`.

    Raises:
        ConfigError: See `combinations`.
    """
    combined = combinations("--try", texts)
    return (Combination(values={}), *(Combination(values=values) for values in combined))


@dataclass
class ArgumentSearch:
    """The comparison of some choices in the folder of a tuning; what was tried there is not tried again.

    Attributes:
        config: Reads the configuration with overrides, each `key=value`.
        folder: Of the tuning.
        wish: How to tune.
        view: Where to show how it goes.
    """

    config: Callable[[Sequence[str]], RunConfig]
    folder: Path
    wish: Wish
    view: View

    def run(self, texts: Sequence[str]) -> list[Compared]:
        """Rank all and load the best of them; the best first, those that were not loaded last.

        Raises:
            ConfigError: An argument is wrong, or the scenario has no first tokens.
            HarnessError: The host is not fit, or a run broke.
        """
        wanted = self._different(choices(texts))
        with StudyFolder(self.folder) as study:
            begun = self._begun(wanted, is_tuned=bool(study.runs()))
            for number, choice in enumerate(begun.choices):
                if choice.is_tried:
                    self._tuning(number, choice, self.wish).require_same()
            study.begin(study_record(self.configured(wanted[0]).harness_config.scenario))
            try:
                record = self._loaded(begun)
            except BaseException as error:
                study.finish("interrupted", str(error) or type(error).__name__)
                raise
        plain = probe_of(self._of(0))
        found = [
            Compared(choice, self._of(number), *_beside(plain, probe_of(self._of(number)))) if choice.qps
            else Compared(choice, self._of(number))
            for number, choice in enumerate(record.choices)
        ]  # fmt: skip
        return sorted(found, key=lambda one: (-(one.choice.qps or 0), -(one.choice.simulated_qps or 0)))

    def _different(self, wanted: tuple[Combination, ...]) -> tuple[Combination, ...]:
        """What is configured and all that differs from those before; a wrong value is refused first."""
        configs = [self.configured(choice) for choice in wanted]
        differs = [config not in configs[:number] for number, config in enumerate(configs)]
        if sum(differs) == 1:
            raise ConfigError("--try: every value is already the configured one", "Give other values.")
        return tuple(itertools.compress(wanted, differs))

    def _loaded(self, record: ArgumentsRecord) -> ArgumentsRecord:
        """Load the promising combinations that were not tried yet, one after another."""
        while (number := next_to_load(record.choices)) is not None:
            if number and self.wish.is_spent:
                break
            record = self._load(record, number)
            write_record(self.folder / _RECORD, record)
        return record

    def configured(self, choice: Combination) -> RunConfig:
        """The configuration with a choice.

        Raises:
            ConfigError: A value is wrong, or the scenario has no first tokens.
        """
        plain = self.config([])
        if not plain.harness_config.scenario.is_timed_per_token:
            raise ConfigError(
                f"--try: {plain.harness_config.scenario} has no first tokens to learn from",
                "Try arguments in Server or Interactive.",
            )
        return self.config(choice.overrides(plain.engine.kind)) if choice.values else plain

    def wish_for(self, choice: Combination) -> Wish:
        """How to tune with a choice: known runs are of what is configured, and say nothing about others."""
        return replace(self.wish, known=()) if choice.values else self.wish

    def _tuning(self, number: int, choice: Combination, wish: Wish) -> Tuning:
        return Tuning(self.configured(choice), self._of(number), wish, self.view)

    def _of(self, number: int) -> Path:
        return self.folder / "arguments" / str(number)

    def _begun(self, wanted: tuple[Combination, ...], *, is_tuned: bool) -> ArgumentsRecord:
        path = self.folder / _RECORD
        if not path.exists():
            if is_tuned:
                raise FolderError(
                    f"{self.folder}: holds a tuning without --try", "Choose a new folder with --output."
                )
            return ArgumentsRecord(choices=wanted)
        record = read_record(path, ArgumentsRecord)
        if [choice.values for choice in record.choices] != [choice.values for choice in wanted]:
            tried = "; ".join(choice.label for choice in record.choices[1:])
            raise FolderError(
                f"{self.folder}: other arguments were tried in it: {tried}",
                "Give the same --try to continue it, or choose a new folder with --output.",
            )
        return record

    def _load(self, record: ArgumentsRecord, number: int) -> ArgumentsRecord:
        """Load one choice, measure it as all are measured, and re-rank those that are not loaded yet."""
        choice = record.choices[number]
        self.view.say(f"arguments: {choice.label}")
        made = list(record.choices)
        wish = replace(self.wish_for(choice), dry_run=True, probes=True, probe_qps=record.probe_qps)
        tuning = self._tuning(number, choice, wish)
        try:
            tuning.tune()
        except (EngineError, ReplicaLost) as error:  # such as an engine without the memory for it
            if number == 0:
                raise
            self.view.say(f"arguments: {choice.label}: {error.message}")
            made[number] = msgspec.structs.replace(choice, problem=error.message)
            return ArgumentsRecord(probe_qps=record.probe_qps, choices=tuple(made))
        search, found = tuning.search, tuning.found
        assert search is not None and found is not None and found.qps is not None
        model = search.model()
        made[number] = msgspec.structs.replace(choice, qps=found.qps, spread=model.spread)
        if choice.limits(model.limits) is not None:
            made = reranked(made, model, search.future, self.wish.confidence, found.qps)
        return ArgumentsRecord(probe_qps=search.tried[-1].qps, choices=tuple(made))


def reranked(
    choices: Sequence[Combination], model: Model, future: Future, confidence: float, around: float
) -> list[Combination]:
    """The choices, those not loaded yet with what a newly fitted model predicts of them.

    The lowest prediction so far counts for each: the cost of steps larger than any seen is a guess until a
    choice that makes such steps has been loaded.

    Args:
        choices: All of them.
        model: Of the choice that was loaded last.
        future: The test.
        confidence: See `Model.best`.
        around: Where to look first, queries/s.
    """
    made = list(choices)
    for number, choice in enumerate(choices):
        limits = None if choice.is_tried else choice.limits(model.limits)
        if limits is not None:
            rate = replace(model, limits=limits).best_or_zero(future, confidence, around)
            made[number] = msgspec.structs.replace(choice, simulated_qps=min(rate, _simulated(choice)))
    return made


def _simulated(choice: Combination) -> float:
    return math.inf if choice.simulated_qps is None else choice.simulated_qps


def next_to_load(choices: Sequence[Combination]) -> int | None:
    """Number of the choice to load next: the configured one, those that cannot be simulated, then the best.

    None if two of the best were loaded, or no other promises more than the configured one.
    """
    if choices[0].qps is None:
        return 0
    ranked = sorted(range(1, len(choices)), key=lambda number: -_simulated(choices[number]))
    simulated = [number for number in ranked if choices[number].simulated_qps is not None]
    promising = [number for number in simulated if (choices[number].simulated_qps or 0) > choices[0].qps]
    wanted = [*(number for number in ranked if number not in simulated), *promising[:_MOST_LOADED]]
    return next((number for number in wanted if not choices[number].is_tried), None)


def _beside(plain: Observed, other: Observed) -> tuple[float, float]:
    """Mean TTFT and mean TPOT as ratios, of the queries that both answered; they came at the same times."""
    count = min(len(plain.due), len(other.due))
    both = plain.done[:count] & other.done[:count]
    ratios = [
        float(b[:count][both].mean() / a[:count][both].mean())
        for a, b in ((plain.ttft, other.ttft), (plain.tpot, other.tpot))
    ]
    return ratios[0], ratios[1]
