"""Scores one accuracy test: LoadGen's log against the data set's reference answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_llm.accuracy.outputs import read_outputs
from harness_llm.accuracy.reference_file import Reference
from harness_llm.accuracy.result import AccuracyResult, Gates
from harness_llm.accuracy.rouge import postprocess, score_rouge
from harness_llm.checkpoint import weights_digest
from harness_llm.datasets.tokenizer import Tokenizer
from harness_llm.errors import DatasetError
from harness_llm.logs.source import ACCURACY_LOG

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from harness_llm.datasets import SampleTable

__all__ = ["score_answers", "score_test"]


def score_test(
    test_dir: Path,
    table: SampleTable,
    tokenizer_path: Path,
    reference: Reference | Gates | None,
    *,
    model_path: Path | None = None,
) -> AccuracyResult:
    """Score `<test_dir>/mlperf_log_accuracy.json`; every sample of the table must be answered.

    Args:
        test_dir: Folder of a test in accuracy mode.
        table: The samples that were asked.
        tokenizer_path: Checkpoint folder whose tokenizer turns answers into text.
        reference: What to judge by: a reference, which must be for this table and these weights; gates from
            the rules; or None to score only.
        model_path: Checkpoint folder whose weights were served; None means `tokenizer_path`.

    Raises:
        ConfigError: The reference is for other samples, limits or weights.
        DatasetError: The data set has no reference answers.
        FolderError: The log cannot be read or is incomplete.
        ModelError: A checkpoint folder cannot be read.
        RunBroken: The log contradicts the data set.
    """
    gates = reference
    if isinstance(reference, Reference):
        gates = reference.gates(table, weights_digest(model_path or tokenizer_path))
    assert gates is None or isinstance(gates, Gates)
    outputs = read_outputs(test_dir / ACCURACY_LOG, len(table))
    answers = [outputs[sample] for sample in range(len(table))]
    return score_answers(answers, table, Tokenizer(tokenizer_path), gates)


def score_answers(
    answers: Sequence[Sequence[int] | npt.NDArray[np.int32]],
    table: SampleTable,
    tokenizer: Tokenizer,
    gates: Gates | None,
) -> AccuracyResult:
    """Score output token ids, one sequence for each sample of the table, in its order.

    Raises:
        DatasetError: The data set has no reference answers.
    """
    if table.references is None:
        raise DatasetError(
            f"{table.source or table.name}: has no reference answers, accuracy cannot be scored",
            "Add a reference to every sample, or run performance only.",
        )
    assert len(answers) == len(table)
    predictions = tokenizer.decode(answers)
    return AccuracyResult(
        scores=score_rouge(predictions, table.references),
        samples=len(answers),
        tokens=sum(len(answer) for answer in answers),
        characters=sum(len(postprocess(prediction)) for prediction in predictions),
        gates=gates,
    )
