"""Folders that are complete or absent: one writer at a time, a rename at the end."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
from typing import TYPE_CHECKING

from harness_llm.errors import FolderError
from harness_llm.fetch.disk import disk_errors
from harness_llm.fetch.record import RECORD_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["exclusive", "make_folder", "new_folder"]

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder, made if it is missing, against other downloads; waits for the one that has it.

    Raises:
        FolderError: There can be no folder, because its path leads through a file or to one.
        HostError: The folder may not be made or read.
    """
    make_folder(folder)
    with disk_errors(folder):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _logger.info("another download works in %s; waiting for it", folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder, and those it lies in, where they are missing.

    Raises:
        FolderError: There can be no folder, because its path leads through a file or to one.
        HostError: It may not be made.
    """
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise FolderError(
            f"{folder} cannot be made: {error.filename}: {error.strerror}",
            "Set LAB_MODEL or LAB_DATASET to a folder.",
        ) from error


@contextlib.contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """Fill a folder beside `destination`, which takes its place in one rename once the body ends well.

    The caller holds the parent (`exclusive`). What an interrupted body left is removed by the next call.

    Raises:
        FolderError: `destination` exists and has no record, so somebody else made it.
    """
    if destination.exists() and not (destination / RECORD_NAME).is_file():
        raise FolderError(
            f"{destination} exists and was not made by this command", "Move it away, or name another place."
        )
    partial = destination.with_name(f".{destination.name}.partial")
    replaced = destination.with_name(f".{destination.name}.replaced")
    for leftover in (partial, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    with disk_errors(destination):
        partial.mkdir()
        yield partial
        if destination.exists():
            destination.rename(replaced)
        partial.rename(destination)
    shutil.rmtree(replaced, ignore_errors=True)
