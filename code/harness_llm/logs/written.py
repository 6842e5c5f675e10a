"""Whether LoadGen's files of a test are whole: LoadGen continues without a word when the disk is full."""

from __future__ import annotations

import os
from pathlib import Path

from harness_llm.errors import HostError
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import ACCURACY_LOG, DETAIL_LOG

_TAIL_BYTES = 64


def check_written(folder: Path) -> None:
    """Refuse a test whose logs cannot be read back to their end.

    Args:
        folder: The test's folder; LoadGen has ended.

    Raises:
        HostError: The detail log or the accuracy log is missing or cut.
    """
    detail = folder / DETAIL_LOG
    problems = [f"{detail}: {problem}" for problem in DetailLog.read(detail).problems]
    accuracy = folder / ACCURACY_LOG
    if not _tail(accuracy).rstrip().endswith(b"]"):
        problems.append(f"{accuracy}: missing, or cut before its end")
    if problems:
        raise HostError(
            f"LoadGen did not write the whole of its logs: {problems[0]}",
            "Free disk space; --resume runs this test again.",
        )


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES), os.SEEK_SET)
            return file.read()
    except OSError:
        return b""
