"""The answers of a compliance run as token arrays, out of a log that must be whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness_llm.errors import FolderError
from harness_llm.logs.accuracy_log import AccuracyEntry, iterate_entries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LoggedSample", "read_samples"]

_RERUN = "Run the compliance test again."


@dataclass(frozen=True, eq=False)
class LoggedSample:
    """One answer as LoadGen logged it.

    Attributes:
        qsl_index: Index of the sample in the data set.
        tokens: int32, the whole answer.
        first_tokens: int32, what was reported as the first token; empty in Offline, where nothing is.
        token_count: The count that LoadGen was given; None where the log has none.
    """

    qsl_index: int
    tokens: npt.NDArray[np.int32]
    first_tokens: npt.NDArray[np.int32]
    token_count: int | None


def read_samples(log: Path) -> Iterator[LoggedSample]:
    """Read mlperf_log_accuracy.json.

    Raises:
        FolderError: The file is missing, cut, or holds something else.
    """
    for entry in iterate_entries(log):
        if not isinstance(entry, AccuracyEntry):
            raise FolderError(f"{log}: {entry or 'was truncated for submission'}", _RERUN)
        try:
            tokens, first = _tokens(entry.data), _tokens(entry.token_data)
        except ValueError as error:
            raise FolderError(f"{log}: sample {entry.sample}: no 4-byte tokens: {error}", _RERUN) from error
        yield LoggedSample(entry.sample, tokens, first, entry.token_count)
    if not log.read_bytes().rstrip().endswith(b"]"):
        raise FolderError(f"{log}: is cut: LoadGen ends the log with a closing bracket", _RERUN)


def _tokens(hexadecimal: str) -> npt.NDArray[np.int32]:
    return np.frombuffer(bytes.fromhex(hexadecimal), dtype="<i4")
