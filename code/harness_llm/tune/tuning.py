"""One tuning in its folder: its manifest, its tries, and the run folder of the result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from harness_llm.benchmark import resolve
from harness_llm.config.harness import RunConfig
from harness_llm.config.user_conf import UserConf, parse_conf
from harness_llm.core import Mode, Scenario
from harness_llm.errors import ConfigError, FolderError
from harness_llm.files import write_atomically
from harness_llm.fleet.fleet import Fleet
from harness_llm.fleet.measurement import TestResult
from harness_llm.logs.early_stopping import SHORT_TEST_OVER, min_queries
from harness_llm.results.held import set_aside, utc_now
from harness_llm.results.paths import RUN_JSON, USER_CONF
from harness_llm.results.reading import read_record
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import TestFolder, state_of
from harness_llm.results.study_folder import PointRecord, StudyFolder, StudyRecord
from harness_llm.run.execute import execute
from harness_llm.run.identity import differences, of_engines
from harness_llm.run.inputs import loadgen_settings
from harness_llm.run.prepare import Prepared, prepare
from harness_llm.system import provenance
from harness_llm.transport.spec import LoadgenTest
from harness_llm.tune.future import Future
from harness_llm.tune.offline import measure_offline
from harness_llm.tune.search import Engines, Search, Tried, TunedRate
from harness_llm.tune.tries import (
    TRIES,
    RecordedEngines,
    Tries,
    earlier,
    is_result,
    keep,
    known_runs,
    known_tests,
    newest,
    require_same_samples,
)
from harness_llm.views.live import View

KIND = "tune"
RESULT = "result"
_TEST = Mode.PERFORMANCE.folder
_ASKED = "asked.conf"
_LIMITS = ("use_token_latencies", "ttft_latency", "tpot_latency")


@dataclass(frozen=True)
class Wish:
    """How to tune.

    Attributes:
        confidence: How sure the run is to be VALID when it starts.
        budget_s: After how long no further run is started.
        started_s: From when that counts, by the monotonic clock.
        known: Run folders to learn from instead of a ramp.
        dry_run: Predict only.
        tries: Folders of tries of the same engines, to learn from.
        probes: With `dry_run`, start a run, too, and learn from that.
        probe_qps: At which rate; None for the one that a ramp predicts.
    """

    confidence: float = 0.9
    budget_s: float = math.inf
    known: tuple[Path, ...] = ()
    dry_run: bool = False
    tries: tuple[Path, ...] = ()
    probes: bool = False
    probe_qps: float | None = None
    started_s: float = field(default_factory=time.monotonic)

    @property
    def is_spent(self) -> bool:
        """Whether the budget is spent."""
        return time.monotonic() - self.started_s >= self.budget_s

    def stops(self) -> str:
        """Why no further run is started; empty while one may be."""
        return "a dry run" if self.dry_run else "the budget is spent" if self.is_spent else ""


def study_record(scenario: Scenario) -> StudyRecord:
    """The manifest of a tuning that starts now."""
    return StudyRecord(
        kind=KIND,
        seed=0,
        points=(PointRecord(label=RESULT, settings={"scenario": str(scenario)}),),
        command=tuple(provenance.command()),
        versions=provenance.packages(),
        state="running",
        started_utc=utc_now(),
    )


def missing_settings(conf: UserConf, model: str, scenario: Scenario, *, is_official: bool) -> dict[str, int]:
    """What `tune` adds to a user.conf: a rate to start at, and queries enough for a verdict.

    LoadGen asks an own benchmark as few queries as its shortest length takes, and calls fewer than 459 never
    VALID; so without `min_query_count` a slow engine has no VALID rate at all. Official benchmarks have one.
    """
    known = conf.settings_for(model, scenario)
    added = {} if "target_qps" in known else {"target_qps": 1}
    if scenario.is_timed_per_token and not is_official and "min_query_count" not in known:
        added["min_query_count"] = min_queries(SHORT_TEST_OVER)
    return added


def _packages(identity: Mapping[str, str]) -> dict[str, str]:
    return {name: version for name, version in identity.items() if name.startswith("package ")}


@dataclass
class Tuning:
    """One tuning: a scenario of a benchmark in its study folder.

    Attributes:
        config: The scenario's configuration.
        folder: The study folder; new, or one of the same tuning that did not finish.
        wish: How to tune.
        view: Where to show how it goes.
        found: What was found, once the search ended in this process.
        search: The search, once it started in this process.
    """

    config: RunConfig
    folder: Path
    wish: Wish
    view: View
    found: TunedRate | None = field(default=None, init=False)
    search: Search | None = field(default=None, init=False)

    @property
    def scenario(self) -> Scenario:
        """What is tuned."""
        return self.config.harness_config.scenario

    @property
    def run(self) -> Path:
        """The run folder of the result."""
        return self.folder / "runs" / RESULT

    @property
    def user_conf(self) -> Path:
        """LoadGen's user.conf with the rate that was found."""
        return self.folder / USER_CONF

    @property
    def reason(self) -> str:
        """Why there is no result."""
        return self.wish.stops() or "no run was VALID"

    def tune(self) -> float | None:
        """Find the rate and measure it; the rate whose run is VALID, None where there is none.

        Raises:
            HarnessError: A setting is wrong, the host is not fit, or a run broke.
        """
        known = known_runs(self.wish.known, self.scenario)
        with StudyFolder(self.folder) as study:
            prepared = self._prepared()
            self._check_same(study, prepared)
            for run in self.wish.known:
                require_same_samples(run, prepared.table.digest)
                self._check_engines(run, prepared)
            study.begin(study_record(self.scenario))
            try:
                self._write_asked(prepared)
                self._put_aside(study, prepared)
                is_known = bool(known or self.wish.tries)
                if study.to_do() and self.wish.dry_run and is_known and not self.wish.probes:
                    self._predict_unloaded(prepared, known)
                elif study.to_do() and (self.wish.dry_run or not self.wish.is_spent):
                    execute(
                        prepared, self.run, self.view, resume=True, measure=self._measure_for(prepared, known)
                    )
                rate = self._keep(prepared)
            except BaseException as error:
                study.finish("interrupted", str(error) or type(error).__name__)
                raise
            study.finish("complete" if rate else "abandoned", "" if rate else self.reason)
        return rate

    def require_same(self) -> None:
        """Refuse the folder where it was tuned otherwise; nothing is loaded or written.

        Raises:
            HarnessError: It was, or a setting is wrong.
        """
        self._check_same(StudyFolder(self.folder), self._prepared())

    def _check_same(self, study: StudyFolder, prepared: Prepared) -> None:
        """Refuse a folder that was tuned with other settings, on another system or by another engine."""
        before = study.runs().get(RESULT)
        if before is not None and before.fingerprint != prepared.fingerprint:
            found = differences(before.identity, prepared.identity)
            raise FolderError(
                f"{self.folder}: holds a tuning of another system:\n  " + "\n  ".join(found),
                "Make these as they were to continue it, or choose a new folder with --output.",
            )

    def _check_engines(self, run: Path, prepared: Prepared) -> None:
        """Refuse to learn from a run of other engines; tell what else may keep it from saying the same."""
        record = read_record(run / RUN_JSON, RunRecord)
        state, _ = state_of(run, record)
        if state != "complete":
            self.view.say(f"note: {run}: the run is {state}; what it measured so far is learned from")
        if not record.identity:
            self.view.say(f"note: {run}: an earlier version kept no record of its engines' arguments")
            return
        before, now = (of_engines(found, self.scenario) for found in (record.identity, prepared.identity))
        if found := differences(before, now):
            raise FolderError(
                f"{run}: other engines than what is configured:\n  " + "\n  ".join(found),
                "Give a run of these engines with --from, or configure what it ran.",
            )
        for line in differences(*(_packages(found) for found in (record.identity, prepared.identity))):
            self.view.say(f"note: {run}: {line}")

    def _put_aside(self, study: StudyFolder, prepared: Prepared) -> None:
        """Move to the tries a test that a kill left in the result's place and that is not the result."""
        test = TestFolder(self.run / prepared.tests[0].name)
        if test.is_begun and test.record().state in ("complete", "abandoned") and not is_result(test.path):
            keep(test.path, self.folder / TRIES)
            if not study.to_do():
                set_aside(self.run)

    def _prepared(self) -> Prepared:
        """The run as user.conf has it, with what is missing there; nothing is written."""
        benchmark = resolve(self.config.harness_config.benchmark)
        model = benchmark.loadgen_model(self.scenario)
        conf = UserConf.read(self.config.harness_config.user_conf, model)
        if not benchmark.is_official:
            self._require_limits(conf, model)
        harness = self.config.harness_config.model_copy(update={"measured_rate": None})
        added = missing_settings(conf, model, self.scenario, is_official=benchmark.is_official)
        if "min_query_count" in added:
            self.view.say(
                f"note: user.conf sets no min_query_count: {added['min_query_count']} is taken, "
                f"of which {SHORT_TEST_OVER} may be over a limit"
            )
        if added:
            place = f"{model}.{self.scenario.loadgen_name}"
            lines = ["# added by `harness-llm tune`", *(f"{place}.{key} = {added[key]}" for key in added)]
            text = "\n".join([conf.text.rstrip("\n"), *lines, ""])
            conf = replace(conf, text=text, entries=tuple(parse_conf(text)[0]))
            harness = harness.model_copy(update={"user_conf": self.folder / _ASKED})
        return prepare([self.config.model_copy(update={"harness_config": harness})], (_TEST,), conf)

    def _write_asked(self, prepared: Prepared) -> None:
        """Write the user.conf to ask by, where the user's own lacks something."""
        if (path := self._conf(prepared)) != prepared.user_conf.path:
            write_atomically(path, prepared.user_conf.text)

    def _require_limits(self, conf: UserConf, model: str) -> None:
        """Refuse to look for a rate where user.conf sets no limits: LoadGen's defaults fit no benchmark."""
        line = f"{model}.{self.scenario.loadgen_name}"
        known = conf.settings_for(model, self.scenario)
        missing = [key for key in _LIMITS if key not in known]
        if self.scenario.is_timed_per_token and missing:
            raise ConfigError(
                f"{conf.path}: has no {' and no '.join(missing)} for {line}",
                "Write " + "; ".join(f"{line}.{key} = …" for key in missing) + ".",
            )

    def _measure_for(
        self, prepared: Prepared, known: Sequence[Tried]
    ) -> Callable[[Fleet, LoadgenTest, Path], TestResult]:
        conf = self._conf(prepared)
        kept = self.folder / TRIES
        set_by = partial(keep, kept=kept)

        def measure(fleet: Fleet, test: LoadgenTest, folder: Path) -> TestResult:
            settings = loadgen_settings(test.loadgen_model, test.scenario, conf)
            tries = Tries(fleet, test, Future(settings, len(prepared.table)), folder, kept)
            if test.scenario is Scenario.OFFLINE:
                say, stops, dry_run = self.view.say, self.wish.stops, self.wish.dry_run
                result = measure_offline(
                    fleet, test, folder, settings, say, set_by, is_result, stops, dry_run=dry_run
                )
                self.found = TunedRate(result.test.target_qps) if dry_run else None
                return result
            made = [one for each in (*self.wish.tries, kept) for one in earlier(each, tries.future.seed)]
            self.search = self._search(prepared, tries, tries.future, [*known, *made])
            self.found = self._predict(self.search) if self.wish.dry_run else self.search.find()
            if self.wish.dry_run or self.found.qps is None or tries.result is None:
                return TestResult(test, folder, "abandoned", reason=self.reason)
            return tries.result

        return measure

    def _predict_unloaded(self, prepared: Prepared, known: list[Tried]) -> None:
        """Predict by runs and tries of another time alone."""
        test = prepared.tests[0]
        settings = loadgen_settings(test.loadgen_model, test.scenario, self._conf(prepared))
        future = Future(settings, len(prepared.table))
        if self.wish.tries:
            kept = self.wish.tries[-1]
            engines = RecordedEngines.of(newest(kept), kept.parent / "runs" / RESULT)
        else:
            engines = RecordedEngines.of(known_tests(self.wish.known, self.scenario)[-1])
        tried = [one for each in self.wish.tries for one in earlier(each, future.seed)]
        self.search = self._search(prepared, engines, future, [*known, *tried])
        self.found = self._predict(self.search)

    @staticmethod
    def _conf(prepared: Prepared) -> Path:
        return prepared.configs[0].harness_config.user_conf

    def _search(self, prepared: Prepared, engines: Engines, future: Future, tried: list[Tried]) -> Search:
        return Search(
            engines,
            future,
            np.asarray(prepared.table.prompt_lengths, np.int64),
            np.asarray(prepared.table.max_tokens, np.int64),
            self.wish.confidence,
            self.view.say,
            tried,
            self.wish.stops,
            heeds_others=not prepared.is_simulated,
        )

    def _predict(self, search: Search) -> TunedRate:
        qps = self.wish.probe_qps or search.first_rate()
        if self.wish.probes:
            search.probe(qps)
            qps = search.best(qps)
        p_valid = search.model().p_valid(search.future, qps)
        self.view.say(f"predicted: {qps:.4g} queries/s, VALID with {p_valid:.0%}")
        return TunedRate(qps, others=search.others)

    def _keep(self, prepared: Prepared) -> float | None:
        """Write user.conf with the rate of the run that is VALID; the rate, None where there is none."""
        test = TestFolder(self.run / prepared.tests[0].name)
        if not is_result(test.path):
            return None
        rate = test.record().target_qps
        asked = prepared.tests[0].with_qps(rate)
        self.user_conf.write_text(asked.user_conf, encoding="utf-8")
        return rate
