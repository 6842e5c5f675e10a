"""One answer for each sample, out of LoadGen's accuracy log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness_llm.errors import RunBroken
from harness_llm.logs.accuracy_log import read_answers

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_outputs"]


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
                f"{where} has {len(answer.tokens)} tokens of int32, token_count says {answer.token_count}"
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
