"""All that the page says of one run, read from its folder; nothing here knows HTML."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness_llm import rules
from harness_llm.check import Report, check_run
from harness_llm.core import Mode
from harness_llm.errors import FolderError
from harness_llm.files import read_text
from harness_llm.report.charts import charts
from harness_llm.report.curves import unfinished
from harness_llm.report.episodes import Room, rooms
from harness_llm.report.marks import Spec
from harness_llm.report.measured import Measured
from harness_llm.report.phases import Phase
from harness_llm.report.warned import told_of, warned
from harness_llm.report.words import clock, findings
from harness_llm.results.live_file import read_live
from harness_llm.results.paths import RUN_JSON, TEST_JSON, config_file
from harness_llm.results.reading import read_record
from harness_llm.results.records import RunRecord
from harness_llm.views.run_summary import RunSummary, summarize

_SLOWEST = 50


@dataclass(frozen=True)
class ReplicaRow:
    """What one replica did.

    Attributes:
        number: Its number.
        samples: Samples that it answered.
        tokens: Tokens of its answers.
        share: Of all tokens, 0..1.
        tpot_ms: Median time per output token, ms; None where first tokens were not asked for.
        idle: Share of the time in which it had nothing to do, 0..1.
    """

    number: int
    samples: int
    tokens: int
    share: float
    tpot_ms: float | None
    idle: float


@dataclass(frozen=True)
class TestContent:
    """One performance test.

    Attributes:
        scenario: Its scenario.
        problem: Why there is nothing to show of it; empty where there is.
        findings: What a reader should know, one sentence each.
        phases: Its ramp, steady part and tail.
        rooms: How it stands against its limits.
        replicas: A row each.
        slowest: Its slowest samples, the slowest first, as columns have them.
        charts: By name.
        changed: What the engine made of arguments that it was given: argument, given, used.
        configuration: The resolved configuration, YAML.
    """

    __test__ = False  # no pytest class

    scenario: str
    problem: str = ""
    findings: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    rooms: tuple[Room, ...] = ()
    replicas: tuple[ReplicaRow, ...] = ()
    slowest: tuple[dict[str, float], ...] = ()
    charts: dict[str, Spec] = field(default_factory=dict)
    changed: tuple[tuple[str, str, str], ...] = ()
    configuration: str = ""


@dataclass(frozen=True)
class RunContent:
    """One run.

    Attributes:
        path: Its folder.
        record: Its run.json.
        summary: What `show` says of it.
        check: What `check` says of it.
        tests: Its performance tests.
    """

    path: Path
    record: RunRecord
    summary: RunSummary
    check: Report
    tests: tuple[TestContent, ...]

    def to_do(self, scenario: str) -> dict[str, str]:
        """What would mend what the checks of a scenario found, each once, with the name of the first such."""
        own = [check for check in self.check.failures if check.result in ("", scenario)]
        found: dict[str, str] = {}
        for check in own:
            if check.remedy:
                found.setdefault(check.remedy, check.name)
        return found


def read_content(run: Path) -> RunContent:
    """Read a run folder, also of a run that broke.

    Raises:
        FolderError: It is no run folder.
    """
    summary, record = summarize(run), read_record(run / RUN_JSON, RunRecord)
    scenarios = [name for name, tests in record.by_scenario().items() if Mode.PERFORMANCE.folder in tests]
    tests = tuple(_test(run, scenario) for scenario in scenarios)
    return RunContent(run, record, summary, check_run(run, rules.LATEST_ROUND), tests)


def _test(run: Path, scenario: str) -> TestContent:
    folder = run / scenario / Mode.PERFORMANCE.folder
    try:
        measured = Measured.read(folder)
    except FolderError as error:
        return TestContent(
            scenario,
            problem=error.message if (folder / TEST_JSON).exists() else "The test had not begun.",
            findings=tuple(_heard(run)),
            configuration=_configuration(run, scenario),
        )
    return TestContent(
        scenario=scenario,
        findings=tuple(findings(measured)),
        phases=measured.phases,
        rooms=rooms(measured),
        replicas=tuple(_replica(measured, number) for number in measured.replicas),
        slowest=tuple(_slowest(measured)),
        charts=charts(measured),
        changed=tuple(_changed(measured.engine.changed)),
        configuration=_configuration(run, scenario),
    )


def _heard(run: Path) -> Iterator[str]:
    """What the stream of a run warned of since its last command began, where no test has anything to show."""
    with contextlib.suppress(FolderError):
        if records := read_live(run):
            yield from told_of(warned(records, records[-1].began_at_s, math.inf), clock)


def _configuration(run: Path, scenario: str) -> str:
    try:
        return read_text(config_file(run, scenario))
    except (OSError, UnicodeDecodeError):
        return ""


def _changed(changed: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (name, str(change.get("given")), str(change.get("resolved")))
        for name, change in changed.items()
        if isinstance(change, dict)
    ]


def _replica(measured: Measured, number: int) -> ReplicaRow:
    own = measured.rows[(measured.rows.replica == number) & measured.rows.is_finished]
    tokens = int(own.tokens.sum())
    middles = (measured.edges_s[:-1] + measured.edges_s[1:]) / 2
    return ReplicaRow(
        number=number,
        samples=len(own),
        tokens=tokens,
        share=tokens / max(1, int(measured.rows.tokens[measured.rows.is_finished].sum())),
        tpot_ms=float(np.median(own.tpot_ms)) if measured.is_timed and len(own) else None,
        idle=float((unfinished(own, middles) == 0).mean()),
    )


def _slowest(measured: Measured) -> list[dict[str, float]]:
    """The samples that came nearest to a limit or went furthest over it; without limits the latest ones."""
    samples, limits = measured.rows, measured.limits_ms
    found = np.where(np.isnan(samples.latency_ms), -np.inf, samples.latency_ms)
    if limits:
        known = {"TTFT": samples.ttft_ms, "TPOT": samples.tpot_ms}
        shares = np.array([known[name] / limit for name, limit in limits.items()])
        found = np.nanmax(np.where(np.isnan(shares), -np.inf, shares), axis=0)
    places = np.argsort(-found, kind="stable")[: min(_SLOWEST, int(np.isfinite(found).sum()))]
    chosen = samples[places].columns()
    names = (
        "query",
        "sample",
        "replica",
        "arrival_s",
        "ttft_ms",
        "tpot_ms",
        "latency_ms",
        "prompt_tokens",
        "tokens",
    )
    return [{name: chosen[name][place].item() for name in names} for place in range(len(places))]
