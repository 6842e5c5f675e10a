"""Every row of the table of faults, as a real command: a part always, the whole thrice behind `long`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fault_kinds import FAULTS
from fault_kinds.fault import Taken
from fault_kinds.rig import Rig
from write_table import PAGE, gathered, read_record, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fault_kinds.fault import Fault

_AT_LEAST = 60


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def _try(fault: Fault, rig: Rig, turn: int = 0) -> None:
    seen = fault.provoke(rig)
    problems = fault.problems(rig, seen)
    if record := os.environ.get("FAULTS_RECORD"):
        line = {"what": fault.what, "turn": turn, "seconds": seen.seconds, "is_right": not problems}
        with Path(record).open("a") as file:
            file.write(json.dumps(line) + "\n")
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("fault", [it for it in FAULTS if it.in_ci], ids=lambda it: it.what)
def test_a_fault(fault: Fault, rig: Rig) -> None:
    _try(fault, rig)


@pytest.mark.long
@pytest.mark.parametrize("turn", [1, 2, 3])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda it: it.what)
def test_every_fault_three_times(fault: Fault, rig: Rig, turn: int) -> None:
    _try(fault, rig, turn)


def test_the_table_has_no_two_rows_for_one_and_enough_of_them() -> None:
    assert len(FAULTS) >= _AT_LEAST
    assert len({fault.what for fault in FAULTS}) == len(FAULTS)


def test_the_documented_table_is_this_one() -> None:
    """`python tests/faults/write_table.py` writes it."""
    page = PAGE.read_text()
    assert page == written(page)


def test_the_record_is_of_rows_that_there_are_and_that_held_their_limits() -> None:
    taken = read_record()
    limits = {fault.what: fault.within_s for fault in FAULTS}
    assert taken and set(taken) <= set(limits)
    assert all(row.longest_s <= limits[what] for what, row in taken.items())


def test_a_part_of_the_suite_keeps_what_is_recorded_of_the_rest() -> None:
    kept, again, wrong = (fault.what for fault in FAULTS[:3])
    before = {what: Taken(3, 9.0) for what in (kept, again, wrong, "a row that there was once")}
    tried = [(again, 1, 0.5, True), (again, 2, 0.72, True), (wrong, 1, 0.5, True), (wrong, 2, 0.5, False)]
    keys = ("what", "turn", "seconds", "is_right")
    lines = [json.dumps(dict(zip(keys, row, strict=True))) for row in tried]
    assert gathered(lines, before) == {kept: Taken(3, 9.0), again: Taken(2, 0.7)}
