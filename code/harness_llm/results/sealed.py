"""Digests of the files on which a test's verdict stands, taken when LoadGen ended.

A file that has another digest is not what was measured, even where its content could be: one bit may have
flipped on a disk, in a copy, or in a field that nothing else holds against another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness_llm.files import file_digest
from harness_llm.logs.source import ACCURACY_LOG, DETAIL_LOG, SUMMARY_LOG, file_problem
from harness_llm.results.paths import AUDIT_CONF, EVENTS_NPY, USER_CONF

SEALED = (EVENTS_NPY, DETAIL_LOG, SUMMARY_LOG, ACCURACY_LOG, USER_CONF, AUDIT_CONF)
"""Of a test's folder; nothing writes them once LoadGen has ended."""


def seal(folder: Path) -> dict[str, str]:
    """SHA-256 of each sealed file that a test has, by its name.

    Raises:
        OSError: One cannot be read.
    """
    return {name: file_digest(folder / name) for name in SEALED if (folder / name).exists()}


def broken_seals(folder: Path, digests: Mapping[str, str]) -> Iterator[str]:
    """What is not as it was when LoadGen ended, a sentence each, without the sentence's end.

    Args:
        folder: The test's folder.
        digests: From `seal`; empty in records of earlier versions, of which nothing is said.
    """
    for name in SEALED if digests else ():
        try:
            found = file_digest(folder / name) if name in digests or (folder / name).exists() else None
        except OSError as error:
            yield f"{name}: {file_problem(folder / name) or error.strerror}"
            continue
        if found != digests.get(name):
            yield f"{name}: has changed since LoadGen ended: its SHA-256 is not the one in test.json"
