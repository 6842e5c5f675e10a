"""Writes the table of faults into docs/reliability.md, between its marks.

PYTHONPATH=code:tests/faults:tests python tests/faults/write_table.py [LINES]

LINES is the file that FAULTS_RECORD named while the suite, or a part of it, ran; record.json, from which the
page has the seconds, takes its rows over and keeps the others.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fault_kinds import FAULTS
from fault_kinds.fault import Taken, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_RECORD = Path(__file__).with_name("record.json")
_BEGIN, _END = "<!-- table of faults: begin -->\n", "<!-- table of faults: end -->\n"


def read_record() -> dict[str, Taken]:
    """How long each fault took when the suite ran last, by its words."""
    return {what: Taken(**row) for what, row in json.loads(_RECORD.read_text()).items()}


def gathered(lines: Iterable[str], before: Mapping[str, Taken]) -> dict[str, Taken]:
    """The record with the rows that were tried since; a row that was not right each time has none."""
    runs: dict[str, dict[int, tuple[float, bool]]] = {}
    for line in lines:
        run = json.loads(line)
        turns = runs.setdefault(run["what"], {})
        turns[run["turn"]] = (run["seconds"], run["is_right"])  # the last word counts
    found = {what: before[what] for what in (fault.what for fault in FAULTS) if what in before}
    for what, turns in runs.items():
        found.pop(what, None)
        if all(is_right for _, is_right in turns.values()):
            found[what] = Taken(len(turns), round(max(seconds for seconds, _ in turns.values()), 1))
    return {fault.what: found[fault.what] for fault in FAULTS if fault.what in found}


def written(page: str) -> str:
    """The page with the table of these faults."""
    before, _, rest = page.partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    assert mark, "docs/reliability.md has lost its marks"
    return f"{before}{_BEGIN}\n{table(FAULTS, read_record())}\n{_END}{after}"


if __name__ == "__main__":
    for given in sys.argv[1:]:
        with Path(given).open() as lines:
            record = gathered(lines, read_record())
        rows = {what: asdict(taken) for what, taken in record.items()}
        _RECORD.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(written(PAGE.read_text()))
