"""A finished run, read strictly and never changed: what a submission is made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness_llm import rules
from harness_llm.benchmark import facts_of
from harness_llm.core import Mode, Scenario
from harness_llm.engines import KINDS, EngineKind
from harness_llm.errors import FolderError
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.paths import (
    ACCURACY_JSON,
    FACTS_JSON,
    RUN_JSON,
    TEST_JSON,
    config_file,
    replica_folder,
)
from harness_llm.results.reading import read_record
from harness_llm.results.recorded_config import recorded_config
from harness_llm.results.records import AccuracyRecord, EngineRecord, RunRecord, TestRecord
from harness_llm.results.run_folder import state_of
from harness_llm.results.verdict import TestVerdict, judge

_REMEDY = "A result needs a complete performance and accuracy test of each scenario."


@dataclass(frozen=True)
class FinishedScenario:
    """The tests of one scenario, all complete.

    Attributes:
        path: Its folder in the run folder.
        scenario: The scenario.
        performance: The performance test.
        config: The resolved configuration of the scenario; empty where the run kept none.
        engine: What the first replica of the performance test said of itself; empty where nothing was kept.
        engine_kind: Its kind of engine.
        accuracy: The scored accuracy test; None only for a simulated run, whose answers cannot be scored.
        compliance: Names of the compliance tests that were run and are complete.
        verdicts: By the name of each test, `performance`, `accuracy` or `TEST06`.
    """

    path: Path
    scenario: Scenario
    performance: TestRecord
    config: dict[str, Any]
    engine: EngineRecord
    engine_kind: type[EngineKind]
    accuracy: AccuracyRecord | None
    compliance: tuple[str, ...]
    verdicts: Mapping[str, TestVerdict]

    @cached_property
    def detail(self) -> DetailLog:
        """LoadGen's detail log of the performance test."""
        return DetailLog.read(self.path / Mode.PERFORMANCE.folder / DETAIL_LOG)

    @property
    def decoding(self) -> rules.Decoding:
        """How the answers were made, by the engine's own facts."""
        return self.engine_kind.decoding(self.config.get("llm_config") or {}, self.engine.as_facts())

    def decoding_findings(self, known: rules.BenchmarkRules) -> Iterator[rules.Finding]:
        """What the rules of a benchmark say of that."""
        facts = facts_of(known.name)
        ends = facts.end_tokens.ids if facts and facts.end_tokens else ()
        return rules.decoding_findings(known, self.scenario, self.decoding, ends)


@dataclass(frozen=True)
class FinishedRun:
    """One finished run.

    Attributes:
        path: The folder.
        record: Its run.json.
        scenarios: Its scenarios in the order of the rules.
    """

    path: Path
    record: RunRecord
    scenarios: tuple[FinishedScenario, ...]

    @classmethod
    def read(cls, path: Path, only: tuple[Scenario, ...] | None = None) -> FinishedRun:
        """Read a run folder.

        Args:
            path: The folder.
            only: Scenarios to read; None for all that it has.

        Raises:
            FolderError: It is no run folder, its run is not complete, or a test is missing.
        """
        record = read_record(path / RUN_JSON, RunRecord, "Give a folder that `harness-llm run` wrote.")
        state, reason = state_of(path, record)
        if state != "complete":
            reason = f": {reason}" if reason else ""
            raise FolderError(f"{path}: the run is {state}{reason}", "Package a run that has ended well.")
        present = [scenario for scenario in Scenario if (path / scenario).is_dir()]
        missing = [scenario for scenario in only or () if scenario not in present]
        if missing or not present:
            raise FolderError(f"{path}: has no test of {', '.join(missing) or 'any scenario'}")
        chosen = [scenario for scenario in present if only is None or scenario in only]
        return cls(path, record, tuple(_scenario(path, scenario, record.simulated) for scenario in chosen))


def _scenario(run: Path, scenario: Scenario, is_simulated: bool) -> FinishedScenario:
    folder = run / scenario
    tests = {mode: _complete_test(folder / mode.folder) for mode in Mode}
    compliance = [path.name for path in sorted(folder.iterdir()) if path.name in rules.table().tests]
    records = {mode.folder: tests[mode] for mode in Mode}
    records |= {test: _complete_test(folder / test) for test in compliance}
    scored = folder / Mode.ACCURACY.folder / ACCURACY_JSON
    is_unscored = is_simulated and not scored.exists()
    performance = tests[Mode.PERFORMANCE]
    engine = engine_record(run, performance.engines)
    return FinishedScenario(
        path=folder,
        scenario=scenario,
        performance=performance,
        config=recorded_config(config_file(run, scenario)),
        engine=engine,
        engine_kind=_engine_kind(engine, is_simulated),
        accuracy=None if is_unscored else read_record(scored, AccuracyRecord, _REMEDY),
        compliance=tuple(compliance),
        verdicts={test: judge(folder / test, found) for test, found in records.items()},
    )


def _engine_kind(engine: EngineRecord, is_simulated: bool) -> type[EngineKind]:
    """By what the engine said of itself; where it said nothing, one that is as simulated as the run."""
    default = next(kind for kind in KINDS.values() if kind.is_simulated == is_simulated)
    return KINDS.get(engine.name, default)


def engine_record(run: Path, group: str | None) -> EngineRecord:
    """What the first replica of a group said of itself; empty where the run kept nothing.

    Args:
        run: The run folder.
        group: See `TestRecord.engines`.

    Raises:
        FolderError: The file is damaged.
    """
    path = replica_folder(run, group, 0) / FACTS_JSON
    return read_record(path, EngineRecord) if path.exists() else EngineRecord()


def _complete_test(folder: Path) -> TestRecord:
    test = read_record(folder / TEST_JSON, TestRecord, _REMEDY)
    if test.state != "complete":
        raise FolderError(
            f"{folder}: the test is {test.state}: {test.reason}", "Run the test to its end first."
        )
    return test
