"""The records of a run folder, each written and read as one type.

A reader leaves keys that it does not know alone. `blank` is what a reader that must continue takes for a key
that is missing or wrong: the value that speaks against the run.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import msgspec

from harness_llm.core import Mode, Scenario, counted
from harness_llm.results.observed import (
    AnswerRecord,
    LossRecord,
    OthersRecord,
    PreflightRecord,
    RateRecord,
    SurvivedFailure,
)
from harness_llm.results.paths import SHARED_SAMPLES
from harness_llm.results.record_base import Record

FORMAT = 2
"""Of run.json and test.json. 1: facts of all engines at replicas/<n>; 2: at replicas/<group>/<n>."""

TestName = Annotated[str, msgspec.Meta(pattern=r"^[\w-][^/]*(/[\w-][^/]*)*$")]
"""Such as `Offline/performance`: folders below the run's, none of whose names begins with a dot."""

State = Literal["running", "complete", "broken", "interrupted", "abandoned"]


class SourceRecord(Record, frozen=True, kw_only=True):
    """The git checkout that ran.

    Attributes:
        commit: The commit; None outside of a checkout.
        dirty: Whether the work tree had changes; None if unknown.
        changed: Paths with changes.
    """

    commit: str | None = None
    dirty: bool | None = None
    changed: tuple[str, ...] = ()


class DatasetRecord(Record, frozen=True, kw_only=True):
    """The samples of one or more tests.

    Attributes:
        name: What the data set is called.
        samples: How many.
        digest: Of the sample table, SHA-256.
        source: Where it was read from.
        file: The sample table in the run folder.
    """

    name: str
    samples: int
    digest: str
    source: str = ""
    file: str = SHARED_SAMPLES

    @classmethod
    def blank(cls) -> Self:
        """No data set of any benchmark."""
        return cls(name="unknown", samples=-1, digest="unknown")


class RunRecord(Record, frozen=True, kw_only=True):
    """run.json.

    Attributes:
        format: See `FORMAT`.
        benchmark: Its benchmark.
        official: Whether the rules of some round have it.
        simulated: Whether the answers are made up.
        marker: What stands beside every number: `unofficial`, `simulated, not a result`, or empty.
        state: How far it came.
        reason: Why it is not complete.
        started_utc: When it was first begun.
        resumed_utc: When it was continued.
        finished_utc: When it ended; None while it runs.
        command: The command line.
        git: The source that ran last.
        packages: Versions of installed packages.
        host: The machine, as `HostFacts` has it.
        accelerators: Its accelerators, as `HostFacts` has them.
        dataset: The samples that tests share.
        test_datasets: Samples of the tests that have their own, e.g. of `TEST07`.
        tests: Names of the tests, e.g. `Offline/performance`.
        rates: By scenario, the rate of its tests where it was measured and not chosen.
        fingerprint: Equal for runs that may continue one another.
        identity: What the fingerprint is of, by name; empty in records of earlier versions.
        losses: Child processes that were lost and that the run went on without, replicas among them.
        preflights: By group of replicas, what was asked of it before its first test, when it was loaded last.
    """

    format: int = FORMAT
    benchmark: str
    official: bool
    simulated: bool
    marker: str = ""
    state: State
    reason: str = ""
    started_utc: str
    resumed_utc: tuple[str, ...] = ()
    finished_utc: str | None = None
    command: tuple[str, ...]
    git: SourceRecord
    packages: dict[str, str]
    host: dict[str, Any]
    accelerators: tuple[dict[str, Any], ...]
    dataset: DatasetRecord
    test_datasets: dict[str, DatasetRecord] = {}
    tests: tuple[TestName, ...]
    rates: dict[str, RateRecord] = {}
    fingerprint: str = ""
    identity: dict[str, str] = {}
    losses: tuple[LossRecord, ...] = ()
    preflights: dict[str, PreflightRecord] = {}

    @classmethod
    def blank(cls) -> Self:
        """A broken, simulated run of nothing."""
        return cls(
            benchmark="unknown", official=False, simulated=True, state="broken", started_utc="", command=(),
            git=SourceRecord(), packages={}, host={}, accelerators=(), dataset=DatasetRecord.blank(),
            tests=(),
        )  # fmt: skip

    def by_scenario(self) -> dict[str, list[str]]:
        """The last names of the tests of each scenario, in order; a scenario may be none of MLPerf's."""
        found: dict[str, list[str]] = {}
        for test in self.tests:
            scenario, _, name = test.partition("/")
            found.setdefault(scenario, []).append(name)
        return found

    def dataset_of(self, test: str) -> DatasetRecord:
        """The samples of a test, by its last name, e.g. `TEST07`."""
        return self.test_datasets.get(test, self.dataset)


class Verdict(Record, frozen=True, kw_only=True):
    """What the verification of a compliance test found.

    Attributes:
        passed: Whether the test complies.
        reasons: Why not, one sentence each.
    """

    passed: bool
    reasons: tuple[str, ...] = ()

    @classmethod
    def blank(cls) -> Self:
        """A test that does not comply."""
        return cls(passed=False, reasons=("The verdict cannot be read.",))


class LoadgenReport(Record, frozen=True, kw_only=True):
    """What a loadgen process says of a test that LoadGen ended; None before that.

    Attributes:
        seconds: Length of the test.
        samples: Samples that were answered.
        tokens: Output tokens of all answers.
        requested_settings: LoadGen's `TestSettings`.
        loadgen_version: LoadGen's version.
        peak_rss_bytes: Most memory that the process held; None also where the kernel does not say.
        survived: Replicas that were lost meanwhile, their samples redispatched.
        clock_steps_s: Steps of the system clock meanwhile, seconds; negative where it went back.
        answers: What was seen of the answers, by replica; empty in records of earlier versions.
    """

    seconds: float | None = None
    samples: int | None = None
    tokens: int | None = None
    requested_settings: dict[str, Any] = {}
    loadgen_version: str | None = None
    peak_rss_bytes: int | None = None
    survived: tuple[SurvivedFailure, ...] = ()

    @property
    def survival(self) -> str:
        """What the test went on without, for people; empty for nothing."""
        count = len(self.survived)
        if not count:
            return ""
        lost = "; ".join(it.reason.partition("\n")[0] for it in self.survived)
        moved = sum(it.redispatched for it in self.survived)
        changed = sum(it.changed_first_tokens for it in self.survived)
        return (
            f"survived {counted(count, 'failure')}: "
            f"{counted(moved, 'sample was', 'samples were')} redispatched"
            + (f", {changed} of them with another first token than was reported" if changed else "")
            + f" ({lost})"
        )

    clock_steps_s: tuple[float, ...] = ()
    answers: tuple[AnswerRecord, ...] = ()


class TestRecord(LoadgenReport, frozen=True, kw_only=True):
    """test.json of one LoadGen test.

    Attributes:
        format: See `FORMAT`.
        state: How far it came.
        reason: Why it is not complete.
        scenario: The scenario as submitted.
        mode: LoadGen's mode.
        loadgen_model: Name in mlperf.conf and user.conf.
        target_qps: From user.conf, samples per second.
        engines: The group of replicas that answered it; None in format 1, which knew one only.
        started_utc: When it began.
        finished_utc: When it ended; None while it runs.
        dataset: Its samples; None until LoadGen ended.
        others: What others held of the host; None until the test ended, and in earlier records.
        digests: SHA-256 of each file that the verdict rests on, by name; see `sealed`. Empty until
            LoadGen ended, and in earlier records.
        compliance: Verdict of a compliance test; None until it is verified, and of other tests.
        followed_up: Whether what follows a test (scoring, verification) was done.
    """

    __test__ = False  # no pytest class

    format: int = FORMAT
    state: State
    reason: str = ""
    scenario: Scenario
    mode: Mode
    loadgen_model: str
    target_qps: float
    engines: str | None = None
    started_utc: str
    finished_utc: str | None = None
    dataset: DatasetRecord | None = None
    others: OthersRecord | None = None
    digests: dict[str, str] = {}
    compliance: Verdict | None = None
    followed_up: bool = False

    @classmethod
    def blank(cls) -> Self:
        """A broken test of nothing."""
        return cls(
            state="broken", scenario=Scenario.OFFLINE, mode=Mode.PERFORMANCE, loadgen_model="unknown",
            target_qps=0.0, started_utc="",
        )  # fmt: skip


class AccuracyRecord(Record, frozen=True, kw_only=True):
    """accuracy.json of a scored accuracy test.

    Attributes:
        metric: Name of the metric, or of the script of MLCommons that gave the scores.
        scores: Each score by name.
        gates: Least value of each score that is judged.
        gates_source: Where the gates come from.
        tokens_per_sample_window: Inclusive window for `tokens_per_sample`; None for none.
        passed: Whether all gates are met; None where there are none.
        failures: Why not, one sentence each.
        tokens_per_sample: Mean answer length, tokens.
        samples: Answers scored.
        gen_len: Characters of all answers; None where they were not counted.
        gen_tok_len: Output tokens of all answers; None in records of earlier versions.
    """

    metric: str
    scores: dict[str, float]
    gates: dict[str, float] = {}
    gates_source: str = ""
    tokens_per_sample_window: tuple[float, float] | None = None
    passed: bool | None
    failures: tuple[str, ...] = ()
    tokens_per_sample: float
    samples: int
    gen_len: int | None = None
    gen_tok_len: int | None = None

    @classmethod
    def blank(cls) -> Self:
        """No scores, below every gate."""
        return cls(metric="unknown", scores={}, passed=False, tokens_per_sample=-1.0, samples=-1)


class EngineRecord(Record, frozen=True, kw_only=True, omit_defaults=True):
    """facts.json of one replica: `engines.base.EngineFacts`, as far as it is read."""

    name: str = ""
    version: str = ""
    is_simulated: bool | None = None
    max_sequence_tokens: int | None = None
    max_concurrent: int | None = None
    resolved: dict[str, Any] = {}
    changed: dict[str, Any] = {}

    def as_facts(self) -> dict[str, Any]:
        """What the engine said, as engine kinds read it; without what it did not say."""
        facts: dict[str, Any] = msgspec.to_builtins(self)
        return facts
