"""`check` judges whatever lies on the disk: no damage to a file or folder ends in an exception or a wait."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from golden.run_folder import build_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation.good_tree import build

from harness_llm.check import Report, check_run, check_tree
from harness_llm.check.render import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATIENCE_SECONDS = 60


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 8)):
        if content:
            content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)


def cut(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content) + 1)])


def delete(path: Path, _: random.Random) -> None:
    path.unlink()


def empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def folder_instead(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside.json").write_text("{}")


def loop(path: Path, _: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def link_to_the_parent(path: Path, _: random.Random) -> None:
    path.unlink()
    path.symlink_to("..")


def pipe(path: Path, _: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def huge_line(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    place = chance.randrange(len(content) + 1)
    filler = chance.choice([b"9", b"[", b"{", b" ", b"\0", b'"', b"\xff", b"-"])
    path.write_bytes(content[:place] + filler * chance.choice([5_000, 300_000]) + content[place:])


def other_value(path: Path, chance: random.Random) -> None:
    """Give one JSON value of the file, wherever it is, a value of another kind."""
    content = path.read_bytes()
    values = [b"null", b"[]", b"{}", b"-1", b"1e999", b'"x"', b"true", b"NaN", b"9" * 30, b'"\\ud800"']
    colons = [place for place, byte in enumerate(content) if byte in b":="]
    if colons:
        start = chance.choice(colons) + 1
        ends = [place for mark in b",}\n" if (place := content.find(mark, start)) >= 0]
        content = content[:start] + b" " + chance.choice(values) + content[min(ends, default=start) :]
    path.write_bytes(content)


def swap(path: Path, chance: random.Random) -> None:
    """The content of another file of the same tree."""
    others = sorted(other for other in path.parents[1].rglob("*") if other.is_file())
    path.write_bytes(chance.choice(others).read_bytes())


def odd_name(path: Path, _: random.Random) -> None:
    path.rename(path.with_name(os.fsdecode(b"\xff\n" + os.fsencode(path.name))))


def without_folder(path: Path, _: random.Random) -> None:
    shutil.rmtree(path.parent)


def file_for_a_folder(path: Path, _: random.Random) -> None:
    folder = path.parent
    shutil.rmtree(folder)
    folder.write_text("x")


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (
    *(flip, cut, delete, empty, folder_instead, loop, link_to_the_parent, pipe, huge_line, other_value),
    *(swap, odd_name, without_folder, file_for_a_folder),
)


@pytest.fixture(scope="module")
def good_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("damage") / "tree")


@pytest.fixture(scope="module")
def good_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_run(tmp_path_factory.mktemp("damage") / "run")


@pytest.fixture(autouse=True)
def impatience() -> Iterator[None]:
    """A check that waits, for a pipe say, fails instead of standing still."""

    def late(*_: object) -> None:
        raise TimeoutError(f"no verdict within {_PATIENCE_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def damaged(good: Path, copy: Path, damage: Callable[[Path, random.Random], None], seed: int) -> Path:
    """A copy with one file, or the folder around it, damaged."""
    if copy.is_dir():
        shutil.rmtree(copy)
    copy.unlink(missing_ok=True)
    shutil.copytree(good, copy)
    chance = random.Random(seed)
    damage(chance.choice(sorted(path for path in copy.rglob("*") if path.is_file())), chance)
    return copy


def assert_is_a_verdict(report: Report) -> None:
    assert len(report.checks) > 0
    json.dumps(report.to_json(), allow_nan=False).encode()
    render(report).encode()
    assert all(check.found and check.remedy for check in report.failures), report.failures


ANY_CASE = {"suppress_health_check": [HealthCheck.function_scoped_fixture], "deadline": None}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@settings(max_examples=6, **ANY_CASE)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_tree_gets_a_verdict(
    good_tree: Path, tmp_path: Path, damage: Callable[[Path, random.Random], None], seed: int
) -> None:
    signal.alarm(_PATIENCE_SECONDS)
    assert_is_a_verdict(check_tree(damaged(good_tree, tmp_path / "tree", damage, seed), "v6.1"))


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@settings(max_examples=6, **ANY_CASE)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_run_gets_a_verdict(
    good_run: Path, tmp_path: Path, damage: Callable[[Path, random.Random], None], seed: int
) -> None:
    signal.alarm(_PATIENCE_SECONDS)
    assert_is_a_verdict(check_run(damaged(good_run, tmp_path / "run", damage, seed)))
