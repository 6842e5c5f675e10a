"""The runs in a folder, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from harness_llm.errors import FolderError
from harness_llm.results.paths import RUN_JSON
from harness_llm.results.reading import read_record
from harness_llm.results.records import RunRecord
from harness_llm.views.run_summary import RunSummary, summarize

_PLACES = (RUN_JSON, f"*/{RUN_JSON}", f"*/runs/*/{RUN_JSON}", f"runs/*/{RUN_JSON}")


@dataclass(frozen=True)
class Listed:
    """One run.

    Attributes:
        folder: Its folder.
        started_utc: When it was begun; empty where run.json cannot be read.
        benchmark: Its benchmark.
        verdict: `VALID`, `INVALID`, or how far it came.
        figures: Of each scenario tokens/s.
        remark: What stands beside every number, or what is wrong with the folder.
    """

    folder: Path
    started_utc: str
    benchmark: str
    verdict: str
    figures: str
    remark: str

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "folder": str(self.folder)}


def list_runs(folder: Path) -> list[Listed]:
    """Every run in a folder, or in the studies in it, the newest last; one that cannot be read says why.

    Raises:
        FolderError: There is no such folder.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder", "Give the folder that holds the runs.")
    found = {path.parent for place in _PLACES for path in folder.glob(place)}
    return sorted(map(_listed, found), key=lambda run: (run.started_utc, str(run.folder)))


def _listed(folder: Path) -> Listed:
    try:
        record, summary = read_record(folder / RUN_JSON, RunRecord), summarize(folder)
    except FolderError as error:
        return Listed(folder, "", "?", "damaged", "", error.message)
    return Listed(
        folder=folder,
        started_utc=record.started_utc,
        benchmark=summary.benchmark,
        verdict=_verdict(summary),
        figures=", ".join(filter(None, map(_figure, summary.scenarios))),
        remark=summary.marker,
    )


def _verdict(summary: RunSummary) -> str:
    if summary.state != "complete":
        return summary.state
    return "VALID" if summary.is_valid else "INVALID"


def _figure(row: Any) -> str:
    rate = row.tokens_per_s if row.tokens_per_s is not None else row.tokens_per_s_events
    return "" if rate is None else f"{row.scenario} {rate:,.1f}"


def table(runs: Sequence[Listed]) -> Table:
    """For people."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("folder", "begun (UTC)", "benchmark", "verdict", "tokens/s", ""):
        shown.add_column(heading, overflow="fold")
    for run in runs:
        began = run.started_utc.replace("T", " ").removesuffix("Z")
        shown.add_row(str(run.folder), began, run.benchmark, run.verdict, run.figures, run.remark)
    return shown
