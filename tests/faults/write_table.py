"""Writes the table of faults into docs/reliability.md, between its marks.

PYTHONPATH=code:tests/faults:tests python tests/faults/write_table.py
"""

from __future__ import annotations

from pathlib import Path

from fault_kinds import FAULTS
from fault_kinds.fault import table

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
_BEGIN, _END = "<!-- table of faults: begin -->\n", "<!-- table of faults: end -->\n"


def written(page: str) -> str:
    """The page with the table of these faults."""
    before, _, rest = page.partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    assert mark, "docs/reliability.md has lost its marks"
    return f"{before}{_BEGIN}\n{table(FAULTS)}\n{_END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
