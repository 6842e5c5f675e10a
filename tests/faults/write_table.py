"""Writes the table of faults into docs/reliability.md, between its marks.

PYTHONPATH=code:tests/faults:tests python tests/faults/write_table.py [LINES]

LINES is the file that FAULTS_RECORD named while the suite ran; record.json, from which the page has the
seconds, is made from it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fault_kinds import FAULTS
from fault_kinds.fault import Taken, table

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_RECORD = Path(__file__).with_name("record.json")
_BEGIN, _END = "<!-- table of faults: begin -->\n", "<!-- table of faults: end -->\n"


def read_record() -> dict[str, Taken]:
    """How long each fault took when the suite ran last, by its words."""
    return {what: Taken(**row) for what, row in json.loads(_RECORD.read_text()).items()}


def gather(lines: Path) -> None:
    """Make record.json from the lines of a suite's runs, without the rows that were not right each time."""
    runs: dict[str, dict[int, tuple[float, bool]]] = {}
    for line in lines.read_text().splitlines():
        run = json.loads(line)
        runs.setdefault(run["what"], {})[run["turn"]] = (
            run["seconds"],
            run["is_right"],
        )  # the last word counts
    found = {}
    for fault in FAULTS:
        turns = list(runs.get(fault.what, {}).values())
        if turns and all(is_right for _, is_right in turns):
            longest_s = round(max(seconds for seconds, _ in turns), 1)
            found[fault.what] = {"times": len(turns), "longest_s": longest_s}
    _RECORD.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def written(page: str) -> str:
    """The page with the table of these faults."""
    before, _, rest = page.partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    assert mark, "docs/reliability.md has lost its marks"
    return f"{before}{_BEGIN}\n{table(FAULTS, read_record())}\n{_END}{after}"


if __name__ == "__main__":
    for given in sys.argv[1:]:
        gather(Path(given))
    PAGE.write_text(written(PAGE.read_text()))
