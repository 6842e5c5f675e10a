"""Answers out of LoadGen's accuracy log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from harness_llm.errors import FolderError, RunBroken

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_outputs"]

_REMEDY = "Score the log as LoadGen wrote it, before it is truncated for a submission tree."


class _Record(msgspec.Struct, frozen=True):
    """One line of mlperf_log_accuracy.json (loadgen/logging.cc, AsyncLog::LogAccuracy, @b66003e1).

    Attributes:
        qsl_idx: Sample index in the data set.
        data: Response bytes in hexadecimal: token ids, int32, little-endian.
        token_count: Tokens that the harness reported; None where LoadGen logged no count.
    """

    qsl_idx: int
    data: str
    token_count: int | None = None


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
    decoder = msgspec.json.Decoder(_Record)
    outputs: dict[int, npt.NDArray[np.int32]] = {}
    closed = False
    try:
        with log.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                line = raw.strip()
                if number == 1:
                    if not line.startswith(b"["):
                        raise FolderError(f"{log}, line 1: not an accuracy log of LoadGen", _REMEDY)
                    line = line[1:]
                closed = closed or line.endswith(b"]")
                line = line.removesuffix(b"]").removesuffix(b",").strip()
                if line:
                    _add(outputs, _parsed(log, number, line, decoder), f"{log}, line {number}")
    except OSError as error:
        raise FolderError(f"{log}: cannot be read: {error}", "Run the accuracy test first.") from error
    if not closed:
        raise FolderError(f"{log}: ends in the middle; LoadGen did not finish it", _REMEDY)
    _check_complete(log, outputs, samples)
    return outputs


def _parsed(
    log: Path, number: int, line: bytes, decoder: msgspec.json.Decoder[_Record]
) -> tuple[_Record, npt.NDArray[np.int32]]:
    try:
        record = decoder.decode(line)
        return record, np.frombuffer(bytes.fromhex(record.data), "<i4").astype(np.int32, copy=False)
    except (msgspec.MsgspecError, ValueError) as error:  # a DecodeError, odd hex, or no multiple of 4 bytes
        shown = line[:60].decode(errors="replace")
        raise FolderError(
            f"{log}, line {number}: not a record of LoadGen: {error}: {shown}", _REMEDY
        ) from error


def _add(
    outputs: dict[int, npt.NDArray[np.int32]], parsed: tuple[_Record, npt.NDArray[np.int32]], where: str
) -> None:
    record, tokens = parsed
    if record.token_count is not None and record.token_count != len(tokens):
        raise RunBroken(
            f"{where}: sample {record.qsl_idx} has {len(tokens)} tokens of int32, "
            f"token_count says {record.token_count}"
        )
    known = outputs.setdefault(record.qsl_idx, tokens)
    if known is not tokens and not np.array_equal(known, tokens):
        raise RunBroken(
            f"{where}: sample {record.qsl_idx} was answered twice, differently",
            "Decoding must be greedy, and batch-invariant where samples repeat.",
        )


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
