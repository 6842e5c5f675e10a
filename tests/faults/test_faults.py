"""Every row of the table of faults, as a real command: a part always, the whole thrice behind `long`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fault_kinds import FAULTS
from fault_kinds.rig import Rig
from write_table import PAGE, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fault_kinds.fault import Fault

_AT_LEAST = 60


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def _try(fault: Fault, rig: Rig) -> None:
    problems = fault.problems(rig, fault.provoke(rig))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("fault", [it for it in FAULTS if it.in_ci], ids=lambda it: it.what)
def test_a_fault(fault: Fault, rig: Rig) -> None:
    _try(fault, rig)


@pytest.mark.long
@pytest.mark.parametrize("turn", [1, 2, 3])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda it: it.what)
def test_every_fault_three_times(fault: Fault, rig: Rig, turn: int) -> None:
    _try(fault, rig)


def test_the_table_has_no_two_rows_for_one_and_enough_of_them() -> None:
    assert len(FAULTS) >= _AT_LEAST
    assert len({fault.what for fault in FAULTS}) == len(FAULTS)


def test_the_documented_table_is_this_one() -> None:
    """`python tests/faults/write_table.py` writes it."""
    page = PAGE.read_text()
    assert page == written(page)
