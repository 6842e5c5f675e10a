"""Change a tree whole or not at all: work on a copy beside it, then put the copy in its place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from harness_llm.errors import FolderError, HostError
from harness_llm.files import locked


@contextmanager
def edit_tree(tree: Path) -> Iterator[Path]:
    """Give a copy of `tree` to work on; when the block ends well, the copy takes the tree's place.

    If the block raises, or the process dies in it, the tree is as it was. The old tree is out of the way only
    between two renames; if the process dies exactly there, the next call puts it back.

    Raises:
        FolderError: Another process works on the same tree, or it holds something that is no plain file.
        HostError: The disk is full or not writable.
    """
    try:
        tree.parent.mkdir(parents=True, exist_ok=True)
        with locked(tree.parent, lambda: _refuse(tree)), _temporary_copy(tree) as stage:
            yield stage
            _swap(stage, tree)
    except OSError as error:
        raise HostError(
            f"{error.filename or tree}: {error.strerror or error}", "Check free space and permissions."
        ) from error


def _refuse(tree: Path) -> NoReturn:
    raise FolderError(
        f"{tree}: another process is packaging into this folder",
        "Wait until it is done, or give another --output.",
    )


@contextmanager
def _temporary_copy(tree: Path) -> Iterator[Path]:
    old = _old(tree)
    if old.exists():  # an earlier process died while it swapped
        if tree.exists():
            shutil.rmtree(old)
        else:
            old.rename(tree)
    _refuse_links(tree)
    stage = tree.with_name(f".{tree.name}.new")
    if stage.exists():  # an earlier process died while it worked; nobody else can, under the lock
        shutil.rmtree(stage)
    try:
        if tree.exists():
            shutil.copytree(tree, stage)
        else:
            stage.mkdir()
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _swap(stage: Path, tree: Path) -> None:
    old = _old(tree)
    if tree.exists():
        tree.rename(old)
    try:
        stage.rename(tree)
    except OSError:
        with suppress(OSError):
            old.rename(tree)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _old(tree: Path) -> Path:
    return tree.with_name(f".{tree.name}.old")


def _refuse_links(tree: Path) -> None:
    """A link would be copied as what it points to, which is nothing that we packaged."""
    if tree.is_symlink() or (tree.exists() and not tree.is_dir()):
        raise FolderError(f"{tree}: not a regular folder", "Move it away, or give another --output.")
    for path in tree.rglob("*"):
        if path.is_symlink():
            raise FolderError(
                f"{path}: a submission cannot hold a symbolic link", "Replace it with the file itself."
            )
