"""The events file: one row per query of one test, in the order of issue; written by the ledger, read by all.

It is a numpy structured array in `.npy` form; times are nanoseconds of one monotonic clock, 0 where nothing
happened. The two of a replica's batches are of the replica's own clock: equal ones are of the same step.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness_llm.core import EventStatus
from harness_llm.errors import BROKEN_INPUT
from harness_llm.files import open_regular
from harness_llm.logs.source import LogError, file_problem

EVENT_FIELDS = (
    "sample",  # index into the sample table
    "replica",  # which replica answered
    "issued_ns",  # LoadGen's callback asked
    "first_token_ns",  # the first token arrived; 0 if it never did or was not asked for
    "finished_ns",  # the last token arrived; 0 if it never did
    "tokens",  # output tokens
    "prompt_tokens",  # prompt tokens
    "status",  # EventStatus
    "first_batch_ns",  # the replica took over the engine's outputs with the first token; 0 where not known
    "last_batch_ns",  # likewise with the last token
)
_FIELDS_BEFORE = EVENT_FIELDS[:8]  # of event files written before there were times of batches
EVENT_DTYPE = np.dtype([(name, "<i8") for name in EVENT_FIELDS])
_DTYPE_BEFORE = np.dtype([(name, "<i8") for name in _FIELDS_BEFORE])


def read_events(path: Path) -> npt.NDArray[np.void]:
    """The rows of an events file, structured by `EVENT_FIELDS`, without unused ones.

    A file without the times of batches has 0 for them.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no events file.
    """
    with open_regular(path) as file:  # not np.load, which would try archives and pickles too
        rows = np.lib.format.read_array(file, allow_pickle=False)  # type: ignore[no-untyped-call]
    if rows.dtype == _DTYPE_BEFORE and rows.ndim == 1:
        rows = _with_batches(rows)
    if rows.dtype != EVENT_DTYPE or rows.ndim != 1:
        raise ValueError(f"its columns are {rows.dtype.names or rows.dtype}, needed {list(EVENT_FIELDS)}")
    used: npt.NDArray[np.void] = rows[rows["status"] != EventStatus.UNUSED]
    return used


def _with_batches(rows: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    made = np.zeros(len(rows), EVENT_DTYPE)
    for name in _FIELDS_BEFORE:
        made[name] = rows[name]
    return made


def sound_events(path: Path) -> tuple[npt.NDArray[np.void] | None, LogError | None]:
    """The rows of an events file, or None and why not, whatever the file holds."""
    if problem := file_problem(path):
        return None, LogError(path, 0, problem)
    try:
        return read_events(path), None
    except BROKEN_INPUT as error:
        return None, LogError(path, 0, f"not an events file: {str(error) or type(error).__name__}"[:200])
