"""A tuning as a study: its manifest, its tries, and the run folder of the result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness_llm.benchmark import resolve
from harness_llm.config.harness import RunConfig
from harness_llm.config.user_conf import UserConf
from harness_llm.core import Mode, Scenario
from harness_llm.errors import FolderError
from harness_llm.fleet.fleet import Fleet
from harness_llm.fleet.measurement import TestResult
from harness_llm.results.held import utc_now
from harness_llm.results.paths import RUN_JSON, USER_CONF, config_file
from harness_llm.results.run_folder import TestFolder
from harness_llm.results.study_folder import PointRecord, StudyFolder, StudyRecord
from harness_llm.run.execute import execute
from harness_llm.run.identity import differences
from harness_llm.run.inputs import loadgen_settings
from harness_llm.run.prepare import Prepared, prepare
from harness_llm.system import provenance
from harness_llm.transport.spec import LoadgenTest
from harness_llm.tune.future import Future
from harness_llm.tune.offline import measure_offline
from harness_llm.tune.search import Search, Tried, TunedRate
from harness_llm.tune.seen_run import Observed
from harness_llm.tune.tries import Tries, earlier
from harness_llm.views.live import View

KIND = "tune"
RESULT = "result"
_TEST = Mode.PERFORMANCE.folder
_ASKED = "asked.conf"


@dataclass(frozen=True)
class Wish:
    """How to tune.

    Attributes:
        confidence: How sure the run is to be VALID when it begins.
        budget_s: When to begin no further run.
        known: Run folders to learn from instead of a ramp.
        dry_run: Predict only.
    """

    confidence: float = 0.9
    budget_s: float = math.inf
    known: tuple[Path, ...] = ()
    dry_run: bool = False


@dataclass
class Tuning:
    """One tuning: a scenario of a benchmark in its study folder.

    Attributes:
        config: The scenario's configuration.
        folder: The study folder; new, or one of the same tuning that did not finish.
        wish: How to tune.
        view: Where to show how it goes.
        found: What was found, once the search ended in this process.
    """

    config: RunConfig
    folder: Path
    wish: Wish
    view: View
    found: TunedRate | None = field(default=None, init=False)

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

    def tune(self) -> float | None:
        """Find the rate and measure it; the rate whose run is VALID, None where there is none.

        Raises:
            HarnessError: A setting is wrong, the host is not fit, or a run broke.
        """
        label = PointRecord(label=RESULT, settings={"scenario": str(self.scenario)})
        record = StudyRecord(
            kind=KIND,
            seed=0,
            points=(label,),
            command=tuple(provenance.command()),
            versions=provenance.packages(),
            state="running",
            started_utc=utc_now(),
        )
        known = _known(self.wish.known, self.scenario)
        with StudyFolder(self.folder) as study:
            study.begin(record)
            try:
                prepared = self._prepared()
                self._check_same(study, prepared)
                if study.to_do():
                    execute(
                        prepared, self.run, self.view, resume=True, measure=self._measure_for(prepared, known)
                    )
                rate = self._keep(prepared)
            except BaseException as error:
                study.finish("interrupted", str(error) or type(error).__name__)
                raise
            study.finish("complete" if rate else "abandoned", "" if rate else "no run was VALID")
        return rate

    def _check_same(self, study: StudyFolder, prepared: Prepared) -> None:
        """Refuse a folder that was tuned with other settings, on another system or by another engine."""
        before = study.runs().get(RESULT)
        if before is not None and before.fingerprint != prepared.fingerprint:
            found = differences(before.identity, prepared.identity)
            raise FolderError(
                f"{self.folder}: holds a tuning of another system:\n  " + "\n  ".join(found),
                "Make these as they were to continue it, or choose a new folder with --output.",
            )

    def _prepared(self) -> Prepared:
        """The run with whatever rate user.conf has; where it has none, with one to begin at."""
        benchmark = resolve(self.config.harness_config.benchmark)
        conf = UserConf.read(self.config.harness_config.user_conf)
        model = benchmark.loadgen_model(self.scenario)
        harness = self.config.harness_config.model_copy(update={"measured_rate": None})
        if "target_qps" not in conf.settings_for(model, self.scenario):
            asked = self.folder / _ASKED
            line = f"{model}.{self.scenario.loadgen_name}.target_qps = 1\n"
            asked.write_text(
                conf.text.rstrip("\n") + "\n# where the search begins\n" + line, encoding="utf-8"
            )
            harness = harness.model_copy(update={"user_conf": asked})
        return prepare([self.config.model_copy(update={"harness_config": harness})], (_TEST,))

    def _measure_for(
        self, prepared: Prepared, known: Sequence[Tried]
    ) -> Callable[[Fleet, LoadgenTest, Path], TestResult]:
        began = time.monotonic()

        def measure(fleet: Fleet, test: LoadgenTest, folder: Path) -> TestResult:
            conf = self.folder / _ASKED
            conf = conf if conf.exists() else prepared.user_conf.path
            settings = loadgen_settings(test.loadgen_model, test.scenario, conf)
            kept = self.folder / "tries"
            future = Future(settings, len(prepared.table))
            tries = Tries(fleet, test, future, folder, kept)
            if test.scenario is Scenario.OFFLINE:
                return measure_offline(
                    fleet, test, folder, settings, self.view.say, tries.keep, dry_run=self.wish.dry_run
                )
            search = Search(
                tries,
                future,
                np.asarray(prepared.table.prompt_lengths, np.int64),
                np.asarray(prepared.table.max_tokens, np.int64),
                self.wish.confidence,
                self.view.say,
                [*known, *earlier(kept, future.seed)],
                self.wish.budget_s,
                lambda: time.monotonic() - began,
                heeds_others=not prepared.is_simulated,
            )
            if self.wish.dry_run:
                qps = search.first_rate()
                self.view.say(f"predicted: {qps:.4g} queries/s, VALID with {self.wish.confidence:.0%}")
                self.found = TunedRate(qps, others=search.others)
                return TestResult(
                    test, folder, "abandoned", reason=f"a dry run: {qps:.4g} queries/s are predicted"
                )
            self.found = search.find()
            if self.found.qps is None or tries.result is None:
                return TestResult(test, folder, "abandoned", reason="no run was VALID")
            return tries.result

        return measure

    def _keep(self, prepared: Prepared) -> float | None:
        """Write user.conf with the rate of the run that is VALID; the rate, None where there is none."""
        test = TestFolder(self.run / prepared.tests[0].name)
        if not test.is_complete:
            return None
        rate = test.record().target_qps
        asked = prepared.tests[0].with_qps(rate)
        self.user_conf.write_text(asked.user_conf, encoding="utf-8")
        return rate


def _known(runs: Sequence[Path], scenario: Scenario) -> list[Tried]:
    """What earlier runs of the same engines showed; the test at its own rate last.

    Raises:
        FolderError: A folder is no run, or has no test with first tokens.
    """
    found = []
    for run in runs:
        if not (run / RUN_JSON).exists():
            raise FolderError(f"{run}: not a run folder", "Give a folder that `harness-llm run` printed.")
        folders = [
            run / scenario / name
            for name in ("accuracy", _TEST)
            if TestFolder(run / scenario / name).is_begun
        ]
        if not folders:
            raise FolderError(
                f"{run}: has no {scenario} test ({config_file(run, scenario).name})",
                "Give a run of the same scenario.",
            )
        for folder in folders:
            seen = Observed.of_test(folder)
            rate = float(seen.done.sum() / seen.until)
            found.append(
                Tried(TestFolder(folder).record().target_qps if folder.name == _TEST else rate, "known", seen)
            )
    return found


def describe(found: TunedRate) -> list[str]:
    """What was found, a sentence each."""
    lines = []
    if found.judged is not None:
        for name, count in (("TTFT", found.judged.ttft), ("TPOT", found.judged.tpot)):
            lines.append(
                f"{name}: {count.over:,} samples over the limit, {count.allowed:,} allowed; "
                f"p99 {count.p99_ns / 1e6:,.1f} ms"
            )
        lines.append(f"{found.judged.binds} limits the rate")
    if found.qps and math.isfinite(found.even_qps):
        lines.append(
            f"left: at {found.even_qps:.4g} queries/s ({found.even_qps / found.qps - 1:+.1%}) every second "
            "run would be VALID"
        )
        lines.append(
            f"luck of the schedule: best rates of other seeds spread by {found.seeds_sd:.1%}; the seed of "
            f"this run is {found.seed_luck:+.1%} from their mean"
        )
    if found.predicted is not None and found.judged is not None:
        pairs = zip(
            (found.predicted.ttft, found.predicted.tpot), (found.judged.ttft, found.judged.tpot), strict=True
        )
        said = ", ".join(f"{a.p99_ns / 1e6:,.1f} for {b.p99_ns / 1e6:,.1f} ms" for a, b in pairs)
        lines.append(f"predicted p99 of TTFT and TPOT before the end: {said}")
    return lines
