"""What follows a test that LoadGen ended: scores of an accuracy test, the verdict of a compliance test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_llm import rules
from harness_llm.accuracy.exact_match import TextWithMarkers, check_gradable, score_log
from harness_llm.accuracy.reference_file import Reference
from harness_llm.accuracy.result import Gates
from harness_llm.accuracy.rouge import GATED, NEEDS_SENTENCES
from harness_llm.accuracy.score import score_test
from harness_llm.accuracy.sentences import COMMAND, has_sentence_model
from harness_llm.compliance.verify import verify
from harness_llm.core import Mode, Scenario
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import ConfigError
from harness_llm.logs.accuracy_log import read_answers
from harness_llm.logs.source import ACCURACY_LOG
from harness_llm.results.records import TestRecord, Verdict
from harness_llm.results.run_folder import TestFolder

if TYPE_CHECKING:
    from pathlib import Path

    from harness_llm.benchmark import Benchmark
    from harness_llm.config.model import RunConfig

__all__ = ["check_scorable", "finish_test", "gates_of", "unscored_note"]


def finish_test(folder: Path, config: RunConfig, table: SampleTable, benchmark: Benchmark) -> str:
    """Score or verify one finished test and write the result into its folder.

    Args:
        folder: The test's folder, in its run folder.
        config: The scenario's configuration.
        table: The samples that tests share; a test whose test.json names samples of its own is scored by
            those.
        benchmark: The benchmark of the run.

    Returns:
        One line for people; empty where there was nothing to do.

    Raises:
        HarnessError: The log cannot be scored; says why.
    """
    test = TestFolder(folder).record()
    name = f"{folder.parent.name}/{folder.name}"
    asked = _asked(folder, test, table)
    if folder.name.startswith("TEST"):
        return f"{name}: {_verify(folder, test.scenario, config, asked)}"
    if test.mode != Mode.ACCURACY:
        return ""
    if asked.references is None or config.model_path is None:
        return ""
    if note := unscored_note(benchmark):
        return f"{name}: {note}"
    result = score_test(folder, asked, config.model_path, gates_of(config, benchmark))
    result.write(folder)
    scores = ", ".join(f"{key} {value:.2f}" for key, value in result.scores.items())
    verdict_text = {True: "all gates met", False: "BELOW ITS GATE", None: "no gate to judge by"}[
        result.passed
    ]
    return f"{name}: {scores}: {verdict_text}"


def check_scorable(config: RunConfig, test: str, table: SampleTable, benchmark: Benchmark) -> None:
    """Find out, before a test runs, what would keep its answers from being scored.

    Raises:
        DatasetError: The samples have no reference answers of the kind that the test is scored by.
        ConfigError: Something that the score needs is not installed; says how to get it.
    """
    if _is_simulated(config):
        return
    if test.startswith("TEST") and rules.compliance_test(test).accuracy_at_least is not None:
        check_gradable(table)
    gated = {gate.metric for gate in benchmark.gates}
    if test == "accuracy" and NEEDS_SENTENCES in gated and not has_sentence_model():
        raise ConfigError(
            f"{benchmark.name} is judged by {NEEDS_SENTENCES}, and the data of nltk's "
            "sentence model (punkt_tab) is not on this machine",
            f"Get it once: {COMMAND}",
        )


def unscored_note(benchmark: Benchmark) -> str:
    """Why the accuracy test of a benchmark runs unscored, and what to do; empty where it is scored."""
    computed = (*GATED, NEEDS_SENTENCES)
    foreign = [gate.metric for gate in benchmark.gates if gate.metric not in computed]
    if not foreign:
        return ""
    return (
        f"{benchmark.name} is judged by {', '.join(foreign)}, which this harness does not compute for an "
        f"accuracy test: {ACCURACY_LOG} is written and not scored; MLCommons' own script scores it "
        "(docs/accuracy.md has the command)"
    )


def gates_of(config: RunConfig, benchmark: Benchmark) -> Reference | Gates | None:
    """What an accuracy score is judged by: the rules, the benchmark's own reference, or nothing.

    Raises:
        ConfigError: The reference file cannot be used.
    """
    official, reference = benchmark.rules, config.harness_config.reference
    if official is None:
        return None if reference is None else Reference.load(reference)
    window = official.length
    bounds = (0.0 if window.low is None else float(window.low), float(window.high))
    return Gates(
        minimum={gate.metric: gate.gate for gate in official.accuracy},
        tokens_per_sample=bounds if window.metric == "tokens_per_sample" else None,
        characters=bounds if window.metric == "gen_len" else None,
        source=f"rules of {official.round}",
    )


def _verify(folder: Path, scenario: Scenario, config: RunConfig, table: SampleTable) -> str:
    score, why = None, ""
    if rules.compliance_test(folder.name).accuracy_at_least is not None:
        if _is_simulated(config):
            why = "The answers are made up by the simulated engine, so they were not scored."
        else:
            assert config.model_path is not None
            check_gradable(table)
            score = score_log(read_answers(folder / ACCURACY_LOG), table, TextWithMarkers(config.model_path))
    verdict = verify(
        folder.name,
        folder / ACCURACY_LOG,
        scenario=scenario,
        eos_token_ids=_eos_token_ids(config),
        score=score,
        why_unscored=why,
    )
    verdict.write(folder)
    TestFolder(folder).verified(Verdict(passed=verdict.passed, reasons=verdict.reasons))
    return "passed" if verdict.passed else "FAILED: " + "; ".join(verdict.reasons)


def _asked(folder: Path, test: TestRecord, table: SampleTable) -> SampleTable:
    """The samples that a test ran on, by its test.json; the shared ones where it names no others."""
    if test.dataset is None or test.dataset.digest == table.digest:
        return table
    return SampleTable.load(folder.parent.parent / test.dataset.file)


def _is_simulated(config: RunConfig) -> bool:
    return config.engine.is_simulated


def _eos_token_ids(config: RunConfig) -> frozenset[int]:
    """End-of-sequence tokens: the engine's own, else those of the checkpoint."""
    if config.engine.end_tokens is not None:
        return config.engine.end_tokens
    return frozenset() if config.checkpoint is None else config.checkpoint.end_tokens
