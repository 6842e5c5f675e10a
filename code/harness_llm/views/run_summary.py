"""A finished run on one screen: a row a scenario, with LoadGen's numbers and every reason for an INVALID."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from harness_llm.core import NANOSECONDS_PER_MS, EventStatus
from harness_llm.errors import FolderError
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.advice import advice
from harness_llm.results.energy import joules_per_token, told
from harness_llm.results.events import sound_events
from harness_llm.results.paths import ACCURACY_JSON, EVENTS_NPY, RUN_JSON
from harness_llm.results.reading import read_record
from harness_llm.results.records import AccuracyRecord, RunRecord, TestRecord, Verdict
from harness_llm.results.run_folder import TestFolder, state_of
from harness_llm.results.verdict import judge
from harness_llm.terminal import shown

CSV_COLUMNS = (
    "run", "benchmark", "scenario", "valid", "samples", "seconds", "tokens_per_s", "tokens_per_s_events",
    "ttft_p99_ms", "tpot_p99_ms", "accuracy", "compliance", "marker", "reasons",
)  # fmt: skip


@dataclass(frozen=True)
class ScenarioSummary:
    """One scenario of a run; None where a test has not been run or its log lacks the number.

    Attributes:
        scenario: The scenario.
        samples: Samples of the performance test.
        seconds: Length of the performance test.
        tokens_per_s: LoadGen's metric for the scenario.
        tokens_per_s_events: Only where LoadGen has no such metric, Offline without use_token_latencies: its
            samples/s times the mean tokens of an answer in our events.
        ttft_p99_ms: LoadGen's p99 TTFT.
        tpot_p99_ms: LoadGen's p99 TPOT.
        accuracy: Scores of the accuracy test.
        gates: What the scores must reach; empty where there is no gate.
        compliance: Compliance test to whether it passed.
        reasons: Why it is INVALID, one sentence each; empty if it is VALID.
        notes: What else a reader must know, one sentence each.
        advice: What to do about that, one sentence each, with the number to set.
        joules_per_token: Energy of the accelerators over the performance test, by their counters (`counter`)
            and by their power over time (`integral`); empty where nothing sampled them.
        others: What others held of the host during the performance test; empty for nothing that matters.
    """

    scenario: str
    samples: int | None = None
    seconds: float | None = None
    tokens_per_s: float | None = None
    tokens_per_s_events: float | None = None
    ttft_p99_ms: float | None = None
    tpot_p99_ms: float | None = None
    accuracy: dict[str, float] = field(default_factory=dict)
    gates: dict[str, float] = field(default_factory=dict)
    compliance: dict[str, bool] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    joules_per_token: dict[str, float] = field(default_factory=dict)
    others: str = ""

    @property
    def is_valid(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons


@dataclass(frozen=True)
class RunSummary:
    """A run.

    Attributes:
        benchmark: Its benchmark.
        marker: What stands beside every number: `unofficial`, `simulated, not a result`, or empty.
        state: `complete`, `broken`, `interrupted` or `running`.
        reason: Why it is not complete.
        scenarios: One row each.
    """

    benchmark: str
    marker: str
    state: str
    reason: str
    scenarios: tuple[ScenarioSummary, ...]

    @property
    def is_valid(self) -> bool:
        """Whether the run is complete and every scenario VALID."""
        return self.state == "complete" and all(row.is_valid for row in self.scenarios)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        document = asdict(self)
        document["valid"] = self.is_valid
        for row, entry in zip(self.scenarios, document["scenarios"], strict=True):
            entry["valid"] = row.is_valid
        return document

    def rows(self) -> list[dict[str, Any]]:
        """For `--csv`: a row a scenario, as `CSV_COLUMNS` but for `run`; lists in one cell, `; ` between."""
        return [
            {
                **{key: value for key, value in asdict(row).items() if key in CSV_COLUMNS},
                "benchmark": self.benchmark,
                "valid": row.is_valid and self.state == "complete",
                "marker": self.marker,
                "accuracy": "; ".join(f"{name} {score:.4f}" for name, score in row.accuracy.items()),
                "compliance": "; ".join(
                    f"{n} {'passed' if ok else 'failed'}" for n, ok in row.compliance.items()
                ),
                "reasons": "; ".join(row.reasons),
            }
            for row in self.scenarios
        ]

    def reasons(self) -> list[str]:
        """Every reason against the run, one line each."""
        why = f": {self.reason}" if self.reason else ""
        lines = [] if self.state == "complete" else [f"the run is {self.state}{why}"]
        return lines + [f"{row.scenario}: {reason}" for row in self.scenarios for reason in row.reasons]

    def notes(self) -> list[str]:
        """What else a reader must know of the run, one line each."""
        return [
            f"{row.scenario}: {note}"
            for row in self.scenarios
            for note in filter(None, (*row.notes, told(row.joules_per_token), row.others))
        ]

    def advice(self) -> list[str]:
        """What to do about it, one line each."""
        return [f"{row.scenario}: {sentence}" for row in self.scenarios for sentence in row.advice]

    def table(self) -> Table:
        """For people; `reasons` says why a verdict is INVALID."""
        title = f"{self.benchmark}" + (f" ({self.marker})" if self.marker else "")
        table = Table(title=shown(title), title_justify="left")
        table.add_column("scenario")
        for heading in ("samples", "tokens/s", "TTFT p99", "TPOT p99"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("accuracy (gate)", no_wrap=True)
        table.add_column("verdict")
        for row in self.scenarios:
            table.add_row(
                shown(row.scenario),
                _number(row.samples, ",d"),
                _rate(row),
                _number(row.ttft_p99_ms, ",.1f", " ms"),
                _number(row.tpot_p99_ms, ",.1f", " ms"),
                _accuracy(row),
                ("VALID" if row.is_valid else "INVALID") + (f"\n{shown(self.marker)}" if self.marker else ""),
            )
        return table


def summarize(run: Path) -> RunSummary:
    """Read a run folder.

    Raises:
        FolderError: It is no run folder.
    """
    record = record_of(run)
    state, reason = state_of(run, record)
    return RunSummary(
        benchmark=record.benchmark,
        marker=record.marker,
        state=state,
        reason=reason,
        scenarios=tuple(_scenario(run, name, tests) for name, tests in record.by_scenario().items()),
    )


def record_of(run: Path) -> RunRecord:
    """The record of a run folder.

    Raises:
        FolderError: It is no run folder.
    """
    if not (run / RUN_JSON).exists():
        held = sorted(str(path.parent) for path in run.glob(f"*/{RUN_JSON}"))
        raise FolderError(
            f"{run}: no run folder, for it holds no {RUN_JSON}",
            f"Name one of the runs in it, e.g. {held[-1]}." if held else "Give a folder that `run` printed.",
        )
    return read_record(run / RUN_JSON, RunRecord)


def _scenario(run: Path, scenario: str, tests: list[str]) -> ScenarioSummary:
    found: dict[str, Any] = {}
    reasons: list[str] = []
    notes: list[str] = []
    for test in tests:
        folder = TestFolder(run / scenario / test)
        if not folder.is_begun:
            reasons.append(f"{test}: not run")
            continue
        record = folder.record()
        if record.survival:
            notes.append(f"{test}: {record.survival}")
        if test == "performance" and record.state in ("complete", "abandoned"):
            found["advice"] = advice(folder.path, record)
            found["others"] = record.others.told if record.others is not None else ""
        if record.state != "complete":
            reasons.append(f"{test}: {' '.join(state_of(run, record))}".strip())
            continue
        reasons += [f"{test}: {reason}" for reason in judge(folder.path, record).reasons]
        if test == "performance":
            found |= _performance(folder.path, record)
        elif test == "accuracy":
            found |= _accuracy_test(folder.path, reasons)
        else:
            found.setdefault("compliance", {})[test] = _compliance(record, test, reasons)
    return ScenarioSummary(scenario=scenario, reasons=tuple(reasons), notes=tuple(notes), **found)


def _performance(folder: Path, record: TestRecord) -> dict[str, Any]:
    log = DetailLog.read(folder / DETAIL_LOG)
    is_timed = record.scenario.is_timed_per_token
    return {
        "samples": record.samples,
        "seconds": record.seconds,
        "tokens_per_s": log.tokens_per_second,
        "tokens_per_s_events": _rate_of_events(folder / EVENTS_NPY, log),
        "joules_per_token": joules_per_token(folder),
        "ttft_p99_ms": _ms(log.ttft_p99_ns) if is_timed else None,
        "tpot_p99_ms": _ms(log.tpot_p99_ns) if is_timed else None,
    }


def _rate_of_events(path: Path, log: DetailLog) -> float | None:
    """Tokens/s as LoadGen would report them, where it counts samples only and our events fit its count.

    With use_token_latencies LoadGen divides tokens by the same time as it divides samples by without
    (loadgen/results.cc lines 767 and 821, @b66003e1), so its samples/s times our tokens a sample is that.
    """
    samples_per_s = log.samples_per_second
    if log.tokens_per_second is not None or not samples_per_s:
        return None
    events, _ = sound_events(path)
    if events is None or not len(events) or len(events) != log.integer("generated_samples_per_query"):
        return None
    if (events["status"] != EventStatus.FINISHED).any():
        return None
    return samples_per_s * float(events["tokens"].mean())


def _accuracy_test(folder: Path, reasons: list[str]) -> dict[str, Any]:
    if not (folder / ACCURACY_JSON).exists():
        return {}
    scored = read_record(folder / ACCURACY_JSON, AccuracyRecord)
    if scored.passed is False:
        reasons += [f"accuracy: {failure}" for failure in scored.failures]
    return {"accuracy": scored.scores, "gates": scored.gates}


def _compliance(record: TestRecord, test: str, reasons: list[str]) -> bool:
    verdict = record.compliance or Verdict(passed=False, reasons=("not verified",))
    reasons += [f"{test}: {reason}" for reason in verdict.reasons]
    return verdict.passed


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / NANOSECONDS_PER_MS


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _rate(row: ScenarioSummary) -> str:
    if row.tokens_per_s is None and row.tokens_per_s_events is not None:
        return f"{row.tokens_per_s_events:,.1f} (events)"
    return _number(row.tokens_per_s, ",.1f")


def _accuracy(row: ScenarioSummary) -> str:
    if not row.accuracy:
        return "-"
    return "\n".join(
        shown(f"{name} {score:.2f}") + (f" ({row.gates[name]:.2f})" if name in row.gates else "")
        for name, score in row.accuracy.items()
    )
