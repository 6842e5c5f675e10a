"""The source that goes into a tree is the commit that ran."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest
from run_maker import Maker


def test_the_source_is_the_commit_that_ran_not_the_files_of_today(maker: Maker) -> None:
    run = maker.run()
    (maker.repository / "code" / "a.py").write_text("x = 2\n")
    maker.git("commit", "-qam", "second")
    (maker.repository / "code" / "a.py").write_text("x = 3\n")
    result = maker.package(run, division="closed")
    (source,) = (result.tree / "closed/Org/src").rglob("a.py")
    assert source.read_text() == "x = 1\n"
    assert not [path for path in result.tree.rglob("*") if path.is_symlink()]


def test_without_git_the_files_of_today_are_taken_and_said_so(maker: Maker) -> None:
    (maker.repository / "code" / "harness_llm").mkdir()
    (maker.repository / "code" / "harness_llm" / "b.py").write_text("")
    run = maker.run(git={"commit": None, "dirty": None})
    result = maker.package(run)
    assert any("outside of a git checkout" in warning for warning in result.warnings)
    names = {path.name for path in (result.tree / "open/Org/src").rglob("*") if path.is_file()}
    assert {"a.py", "b.py"} <= names and not any(".git" in str(path) for path in result.tree.rglob("*"))
    assert "not made from a git checkout" in (result.results[0] / "README.md").read_text()


@pytest.mark.parametrize("has_filters", [True, False])
def test_sources_unpack_by_the_data_filter_also_where_python_knows_no_argument_for_it(
    maker: Maker, monkeypatch: pytest.MonkeyPatch, has_filters: bool
) -> None:
    """Debian 12's Python 3.11.2 has neither the argument `filter` nor the filters."""
    unpack, used = tarfile.TarFile.extractall, []

    def data_filter(member: tarfile.TarInfo, _: str) -> tarfile.TarInfo:
        return member

    def extractall(tar: tarfile.TarFile, path: Path, members: Any = None) -> None:
        used.append(tar.extraction_filter)
        unpack(tar, path, members=members)

    monkeypatch.setattr(tarfile.TarFile, "extractall", extractall)
    if has_filters:
        monkeypatch.setattr(tarfile, "data_filter", data_filter, raising=False)
    else:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    result = maker.package(maker.run(scenarios=("Offline",)))
    assert used == [data_filter if has_filters else None]
    assert [path.read_text() for path in (result.tree / "open/Org/src").rglob("a.py")] == ["x = 1\n"]
