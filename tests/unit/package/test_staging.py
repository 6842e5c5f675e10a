"""A tree is written aside and moved in whole; whatever happens, a good one stays."""

from __future__ import annotations

import hashlib
import multiprocessing
from pathlib import Path

import pytest
from run_maker import Maker, files

from harness_llm.errors import FolderError, HostError
from harness_llm.package.staging import edit_tree


def test_a_failure_halfway_leaves_the_tree_as_it_was(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    with edit_tree(tree) as stage:
        (stage / "a").write_text("good")
    with pytest.raises(RuntimeError), edit_tree(tree) as stage:
        (stage / "a").write_text("bad")
        raise RuntimeError
    assert (tree / "a").read_text() == "good"
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_a_death_between_the_two_renames_is_repaired(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tmp_path / ".tree.old").mkdir()
    (tmp_path / ".tree.old" / "a").write_text("good")
    with edit_tree(tree) as stage:
        assert (stage / "a").read_text() == "good"
    (tmp_path / ".tree.old").mkdir()
    (tmp_path / ".tree.old" / "a").write_text("stale")
    (tmp_path / ".tree.new").mkdir()
    (tmp_path / ".tree.new" / "b").write_text("half done")
    with edit_tree(tree):
        pass
    assert files(tmp_path) == {"tree/a": hashlib.sha256(b"good").hexdigest()}


def test_a_link_in_the_tree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "loop").symlink_to(tmp_path / "tree")
    with pytest.raises(FolderError, match="symbolic link"), edit_tree(tmp_path / "tree"):
        pass


def test_an_output_that_is_a_file_is_an_error(maker: Maker) -> None:
    (maker.path / "out").write_text("")
    with pytest.raises(HostError, match="out"):
        maker.package(maker.run())


def _hold(tree: Path, ready, release) -> None:
    with edit_tree(tree):
        ready.set()
        release.wait(30)


def test_two_packagers_cannot_work_on_one_tree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "tree", ready, release))
    process.start()
    try:
        assert ready.wait(30)
        with pytest.raises(FolderError, match="another process"), edit_tree(tmp_path / "tree"):
            pass
    finally:
        release.set()
        process.join(30)
    assert process.exitcode == 0
