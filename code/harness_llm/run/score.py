"""Score or verify a finished test, from its files alone; and take over the score of MLCommons' own script."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness_llm.accuracy import AccuracyResult, Gates, Reference, every_answer, gates_of, score_accuracy_log
from harness_llm.accuracy.metrics import Foreign, metric_named, metric_of
from harness_llm.benchmark import Benchmark, resolve
from harness_llm.checkpoint import weights_digest
from harness_llm.compliance import AUDIT_TESTS, AuditTest, Evidence
from harness_llm.config.harness import RunConfig
from harness_llm.config.recorded import load_recorded
from harness_llm.core import Mode
from harness_llm.datasets.table import SampleTable
from harness_llm.datasets.tokenizer import Tokenizer
from harness_llm.errors import FolderError, UsageError
from harness_llm.logs.accuracy_log import AccuracyLog
from harness_llm.logs.source import ACCURACY_LOG, read_text
from harness_llm.results.accuracy_txt import scores_in
from harness_llm.results.paths import RUN_JSON, SHARED_SAMPLES, config_file
from harness_llm.results.reading import read_record
from harness_llm.results.records import RunRecord, TestRecord
from harness_llm.results.run_folder import RunFolder, TestFolder, state_of

_MADE_UP = "The answers are made up by the simulated engine, so they were not scored."
_VERDICTS = {True: "all gates met", False: "BELOW ITS GATE", None: "no gate to judge by"}


@dataclass(frozen=True)
class ScoreResult:
    """What came of scoring or verifying one test.

    Attributes:
        test: Its name, such as `Offline/accuracy`.
        passed: Whether every gate is met, or the compliance test passed; None where nothing judges.
        text: One line for people; empty where there was nothing to do.
    """

    test: str
    passed: bool | None = None
    text: str = ""


@dataclass(frozen=True)
class _FinishedTest:
    """One test that LoadGen ended, with what its run folder says of it."""

    folder: Path
    name: str
    record: TestRecord
    config: RunConfig
    benchmark: Benchmark

    @classmethod
    def read(cls, folder: Path) -> Self:
        record = TestFolder(folder).record()
        if record.state != "complete":
            raise FolderError(
                f"{folder}: a test that did not end by itself ({state_of(folder.parent.parent, record)[0]})",
                "Continue the run with --resume, then score it.",
            )
        config = load_recorded(config_file(folder.parent.parent, record.scenario))
        name = f"{folder.parent.name}/{folder.name}"
        return cls(folder, name, record, config, resolve(config.harness_config.benchmark))

    @property
    def is_simulated(self) -> bool:
        return self.config.engine.is_simulated

    @property
    def log(self) -> Path:
        return self.folder / ACCURACY_LOG

    def samples(self) -> SampleTable:
        """The samples that the test asked, out of the run folder."""
        asked = self.record.dataset
        path = self.folder.parent.parent / (SHARED_SAMPLES if asked is None else asked.file)
        table = SampleTable.load(path)
        if asked is not None and table.digest != asked.digest:
            raise FolderError(f"{path}: not the samples that {self.name} asked", "Run it again.")
        return table


def score(folder: Path) -> ScoreResult:
    """Score or verify one finished test and write the result into its folder.

    Args:
        folder: The test's folder in its run folder, `<run>/<Scenario>/<test>`.

    Raises:
        FolderError: It holds no test that ended by itself.
        HarnessError: The log cannot be scored; says why.
    """
    test = _FinishedTest.read(folder)
    if folder.name in AUDIT_TESTS:
        return _verify(test, AUDIT_TESTS[folder.name])
    result = _scored(test)
    if not isinstance(result, AccuracyResult):
        return ScoreResult(test.name, text=result)
    result.write(folder)
    return _told(test, result)


def score_again(folder: Path) -> AccuracyResult | str:
    """What the answers of a finished accuracy test score, or why nothing scores them; nothing is written.

    Raises:
        HarnessError: As of `score`.
    """
    return _scored(_FinishedTest.read(folder))


def _scored(test: _FinishedTest) -> AccuracyResult | str:
    choice = test.config.tokenizer_choice
    if test.record.mode != Mode.ACCURACY or choice is None:
        return ""
    table = test.samples()
    if table.references is None:
        return ""
    harness = test.config.harness_config
    metric = metric_of(test.benchmark, harness.metric)
    if isinstance(metric, Foreign):
        return metric.note
    gates = gates_of(test.benchmark, harness.reference)
    if isinstance(gates, Reference):
        path = test.config.model_path
        gates = None if path is None else gates.gates(table, weights_digest(path))
    return score_accuracy_log(test.log, table, Tokenizer(choice), metric, gates)


def take_over(folder: Path, output: Path) -> ScoreResult:
    """Judge an accuracy test by the scores that MLCommons' script printed, and write them into its folder.

    Args:
        folder: The test's folder, `<run>/<Scenario>/accuracy`.
        output: What the script printed; scores are its `'name': number`, the last of each name.

    Raises:
        FolderError: The test did not end well, was simulated, or its log is not whole.
        UsageError: The harness scores this benchmark itself, or the output lacks a score that judges it.
    """
    test = _FinishedTest.read(folder)
    if test.record.mode != Mode.ACCURACY:
        raise FolderError(f"{folder}: not an accuracy test", "Name <Scenario>/accuracy with --test.")
    if read_record(folder.parent.parent / RUN_JSON, RunRecord).simulated:
        raise FolderError(f"{folder}: its answers are simulated, so no score can be a result")
    metric = metric_of(test.benchmark, test.config.harness_config.metric)
    if not isinstance(metric, Foreign):
        raise UsageError(
            f"{test.benchmark.name}: the harness scores this benchmark itself", "Leave --from out."
        )
    text, problem = read_text(output)
    if problem:
        raise UsageError(f"{output}: {problem}", "Keep what the script prints: … | tee OUTPUT.txt")
    found = {score.name: score.value for score in scores_in(text) if score.name in metric.scores}
    if missing := [name for name in metric.scores if name not in found]:
        raise UsageError(f"{output}: holds no score '{missing[0]}': number", "Give the whole output.")
    log = AccuracyLog.read(test.log)
    if log.problems or log.is_truncated or not log.samples or log.tokens is None:
        raise FolderError(f"{log.path}: {log.problems[0] if log.problems else 'holds no whole answers'}")
    assert test.benchmark.rules is not None
    gates = Gates.of_rules(test.benchmark.rules)
    result = AccuracyResult(metric.script, found, len(log.samples), log.tokens, None, gates)
    result.write(folder)
    return _told(test, result)


def score_run(run: Path, tests: Sequence[str] = (), output: Path | None = None) -> list[ScoreResult]:
    """Score or verify tests of a run that nobody is measuring.

    Args:
        run: The run folder.
        tests: Names such as `Offline/accuracy`; none for every test that run.json names.
        output: What MLCommons' script printed for one accuracy test; None scores here.

    Raises:
        FolderError: It is not a run folder, is in use, or lacks a test.
        UsageError: `output` is given and the run has several accuracy tests, or none.
    """
    known = read_record(run / RUN_JSON, RunRecord).tests
    if strange := [name for name in tests if name not in known]:
        raise FolderError(f"{run}: has no test {strange[0]}", f"It has {', '.join(known) or 'none'}.")
    chosen = list(tests or known)
    if output is not None:
        chosen = [name for name in chosen if name.endswith(f"/{Mode.ACCURACY.folder}")]
        if len(chosen) != 1:
            raise UsageError(
                f"{output}: a score of one accuracy test, {run} has {len(chosen)}", "Name one with --test."
            )
    with RunFolder(run):
        return [score(run / name) if output is None else take_over(run / name, output) for name in chosen]


def _told(test: _FinishedTest, result: AccuracyResult) -> ScoreResult:
    scores = ", ".join(f"{key} {value:.2f}" for key, value in result.scores.items())
    return ScoreResult(test.name, result.passed, f"{scores}: {_VERDICTS[result.passed]}")


def _verify(test: _FinishedTest, audit_test: AuditTest) -> ScoreResult:
    value, why = None, ""
    if audit_test.metric is not None:
        if test.is_simulated:
            why = _MADE_UP
        else:
            value = _audit_score(test, audit_test.metric)
    evidence = Evidence(test.log, test.record.scenario, test.config.end_tokens, value, why)
    found = audit_test.verify(evidence)
    found.write(test.folder)
    TestFolder(test.folder).verified(found.verdict)
    return ScoreResult(test.name, found.passed, str(found))


def _audit_score(test: _FinishedTest, name: str) -> float | None:
    """The score of a compliance test's answers by the metric of the rules; every answer counts."""
    choice = test.config.tokenizer_choice
    assert choice is not None
    metric, table = metric_named(name), test.samples()
    metric.check(table)
    answers = every_answer(test.log, len(table))
    return metric.score(answers, table, Tokenizer(choice)).values.get(name)
