"""Scores LoadGen's accuracy log: one answer for each sample, by a metric, judged by gates."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness_llm.accuracy.metrics import Answer, Metric
from harness_llm.accuracy.result import AccuracyResult, Gates
from harness_llm.core import counted
from harness_llm.datasets.table import SampleTable
from harness_llm.datasets.tokenizer import Tokenizer
from harness_llm.errors import RunBroken
from harness_llm.logs.accuracy_log import read_answers


def score_accuracy_log(
    log: Path, table: SampleTable, tokenizer: Tokenizer, metric: Metric, gates: Gates | None
) -> AccuracyResult:
    """Score the log of an accuracy test; every sample of the table must be answered.

    Args:
        log: Its mlperf_log_accuracy.json.
        table: The samples that were asked.
        tokenizer: The checkpoint's own.
        metric: What to score by.
        gates: What to judge by; None to score only.

    Raises:
        DatasetError: The samples cannot be scored by this metric.
        FolderError: The log cannot be read or is incomplete.
        RunBroken: The log contradicts the data set.
    """
    outputs = read_outputs(log, len(table))
    return score_outputs([outputs[sample] for sample in range(len(table))], table, tokenizer, metric, gates)


def score_outputs(
    outputs: Sequence[Sequence[int] | npt.NDArray[np.int32]],
    table: SampleTable,
    tokenizer: Tokenizer,
    metric: Metric,
    gates: Gates | None,
) -> AccuracyResult:
    """Score output token ids, one sequence for each sample of the table, in its order.

    Raises:
        DatasetError: The samples cannot be scored by this metric.
    """
    metric.check(table)
    assert len(outputs) == len(table)
    answers = (Answer(sample, tokens) for sample, tokens in enumerate(outputs))
    found = metric.score(answers, table, tokenizer)
    return AccuracyResult(
        metric=metric.name,
        scores=found.values,
        samples=len(outputs),
        tokens=sum(len(tokens) for tokens in outputs),
        characters=found.characters,
        gates=gates,
        left_out=found.left_out,
    )


def every_answer(log: Path, samples: int) -> Iterator[Answer]:
    """Every answer of a whole log, in its order, a sample that was asked twice twice.

    Raises:
        FolderError: The file cannot be read or is no complete accuracy log.
        RunBroken: An answer is to a sample beyond the data set.
    """
    for answer in read_answers(log):
        if not 0 <= answer.sample < samples:
            raise RunBroken(f"{log}, line {answer.line}: answers sample {answer.sample} of {samples}")
        yield Answer(answer.sample, answer.tokens)


def read_outputs(log: Path, samples: int | None = None) -> dict[int, npt.NDArray[np.int32]]:
    """Read each sample's output token ids from mlperf_log_accuracy.json.

    The log is read line by line, so memory is that of the token ids. A sample that was asked more than once
    counts once, and its answers must agree.

    Args:
        log: The file, as LoadGen wrote it.
        samples: Samples of the data set; each must have an answer. None takes what is there.

    Returns:
        Token ids, int32, by sample index.

    Raises:
        FolderError: The file cannot be read or is no complete accuracy log.
        RunBroken: It contradicts itself or the data set: answers that are missing, unknown, or that differ
            for one sample, or a token count that is not the answer's length.
    """
    outputs: dict[int, npt.NDArray[np.int32]] = {}
    for answer in read_answers(log):
        where = f"{log}, line {answer.line}: sample {answer.sample}"
        if answer.token_count is not None and answer.token_count != len(answer.tokens):
            raise RunBroken(
                f"{where} has {counted(len(answer.tokens), 'token')} of int32, "
                f"token_count says {answer.token_count}"
            )
        known = outputs.setdefault(answer.sample, answer.tokens)
        if known is not answer.tokens and not np.array_equal(known, answer.tokens):
            raise RunBroken(
                f"{where} was answered twice, differently",
                "Decoding must be greedy, and batch-invariant where samples repeat.",
            )
    _check_complete(log, outputs, samples)
    return outputs


def _check_complete(log: Path, outputs: dict[int, npt.NDArray[np.int32]], samples: int | None) -> None:
    if not outputs:
        raise RunBroken(f"{log}: holds no answers", "Run the test in accuracy mode.")
    if samples is None:
        return
    unknown = sorted(index for index in outputs if not 0 <= index < samples)
    if unknown:
        raise RunBroken(
            f"{log}: {len(unknown)} answers are to samples beyond 0..{samples - 1}, first {unknown[0]}"
        )
    if len(outputs) < samples:
        first = next(index for index in range(samples) if index not in outputs)
        raise RunBroken(f"{log}: {samples - len(outputs)} of {samples} samples have no answer, first {first}")
