"""training_stats.csv and inference_stats.csv of a study: one row per step, or steady second."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness_llm.core import NANOSECONDS_PER_SECOND
from harness_llm.errors import FolderError, HarnessError
from harness_llm.files import write_atomically
from harness_llm.logs.source import SUMMARY_LOG
from harness_llm.logs.summary import SummaryLog
from harness_llm.power.trainer import TRAIN_JSONL
from harness_llm.results.live_file import read_live
from harness_llm.results.live_records import LiveRecord
from harness_llm.results.paths import SPEC_JSON, TEST_JSON
from harness_llm.results.recompute import percentile, tpot_ns
from harness_llm.study.points import Trial, trials_of
from harness_llm.study.runner import ASKED_JSON, IDLE_JSON
from harness_llm.study.windows import WindowFacts, steady, tokens_between, utc_of, window
from harness_llm.transport.spec import DriverSpec, read_spec

SCHEMA = 1
TRAINING_CSV, INFERENCE_CSV = "training_stats.csv", "inference_stats.csv"
_FIRST = ("timestamp", "epoch", "iteration", "batch", "loss")
_SHARED = (
    "tokens_per_sec", "power_draw", "temperature", "gpu_utilization", "memory_utilization", "max_watt",
    "total_power_draw", "energy_per_token", "trial", "order", "knob", "knob_value", "cap_read_back", "tokens",
    "seconds", "energy_j", "sm_mhz", "window_tokens", "window_seconds", "window_energy_j",
    "window_integral_j", "window_energy_net_j", "cap_binding", "thermal", "reasons", "marker", "schema",
)  # fmt: skip
TRAINING_COLUMNS = (*_FIRST, *_SHARED)
INFERENCE_COLUMNS = ("timestamp", *_SHARED, "verdict", "ttft_p99_ms", "tpot_p99_ms", "input_tokens")
Row = dict[str, Any]


def write_stats(study: Path, folder: Path) -> list[str]:
    """Write both CSV files of a study into a folder; what was found, a sentence each.

    Raises:
        FolderError: It is no power study, or has no trial yet.
    """
    trials, live = trials_of(study), read_live(study)
    if not trials or "phase" not in trials[0].record.settings:
        raise FolderError(f"{study}: has no trial of a power study", "Run `harness-llm study power` first.")
    idle = _idle_watts(study, live)
    marker = _marker(study)
    said, left_out = [], []
    for phase, name, columns in (
        ("training", TRAINING_CSV, TRAINING_COLUMNS),
        ("inference", INFERENCE_CSV, INFERENCE_COLUMNS),
    ):
        rows: list[Row] = []
        count = 0
        for trial in trials:
            if trial.record.settings["phase"] != phase:
                continue
            try:
                rows += [{**row, "marker": marker} for row in _rows(trial, live, idle)]
                count += 1
            except (HarnessError, OSError, ValueError, msgspec.MsgspecError) as error:
                left_out.append(f"{trial.folder.name}: left out: {error}")
        write_atomically(folder / name, as_csv(columns, rows))
        said.append(f"{name}: {len(rows)} rows of {count} trials")
    if idle is not None:
        said.append(f"idle: {idle:.1f} W")
    if not any(record.devices for record in live):
        said.append("no GPU was found: the columns of power and energy are empty")
    return said + left_out


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV; what was not measured is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n", restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def _marker(study: Path) -> str:
    return str(_decoded(study / ASKED_JSON).get("marker", ""))


def _decoded(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise FolderError(f"{path}: cannot be read: {error}", "Copy it from the study again.") from error


def _idle_watts(study: Path, live: Sequence[LiveRecord]) -> float | None:
    path = study / IDLE_JSON
    known = _decoded(path) if path.exists() else {}
    return window(live, *known["idle"]).watts if "idle" in known else None


def _rows(trial: Trial, live: Sequence[LiveRecord], idle: float | None) -> list[Row]:
    is_training = trial.record.settings["phase"] == "training"
    return _training_rows(trial, live, idle) if is_training else _inference_rows(trial, live, idle)


def _training_rows(trial: Trial, live: Sequence[LiveRecord], idle: float | None) -> list[Row]:
    lines = (trial.folder / "training" / TRAIN_JSONL).read_bytes().splitlines()
    steps = [msgspec.json.decode(line) for line in lines]
    if not steps:
        raise FolderError(f"{TRAIN_JSONL}: has no step")
    begin_s, end_s = ([it[name] / NANOSECONDS_PER_SECOND for it in steps] for name in ("start_ns", "end_ns"))
    tokens = float(sum(it["tokens"] for it in steps))
    shared = {"epoch": 0, **_of_trial(trial, window(live, begin_s[0], end_s[-1]), tokens, idle)}
    return [
        {
            **shared, "iteration": it["step"], "batch": it["step"], "loss": it["loss"],
            **_of_block(live, begin, end, float(it["tokens"])),
        }
        for it, begin, end in zip(steps, begin_s, end_s, strict=True)
    ]  # fmt: skip


def _inference_rows(trial: Trial, live: Sequence[LiveRecord], idle: float | None) -> list[Row]:
    events = trial.events("inference")
    capacities = trial.capacities("inference")
    concurrent = sum(capacities) or 1
    full = steady(events, min(concurrent, _open_at_once(trial) or concurrent))
    if full is None:
        raise FolderError("nothing was answered in its measured part")
    begin_s, end_s = full
    edges = np.append(np.arange(begin_s, end_s, 1.0), end_s)
    if len(edges) > 2 and edges[-1] - edges[-2] < 0.5:
        edges = np.delete(edges, -2)
    tokens = tokens_between(events, edges, max(capacities, default=None))
    shared = _of_trial(trial, window(live, begin_s, end_s), float(tokens.sum()), idle)
    shared |= {
        "verdict": _verdict(trial),
        "input_tokens": int(events["prompt_tokens"].sum()),
        **_latency(events),
    }
    return [
        {**shared, **_of_block(live, float(begin), float(end), float(count))}
        for begin, end, count in zip(edges[:-1], edges[1:], tokens, strict=True)
    ]


def _open_at_once(trial: Trial) -> int | None:
    """How many requests the driver keeps open; fewer may not fill the engine. None: as many as come."""
    folder = trial.folder / "inference"
    if (folder / TEST_JSON).exists():  # LoadGen asks
        return None
    test = read_spec(DriverSpec, folder / SPEC_JSON).test
    return None if test.rule == "timed" else test.width


def _latency(events: Any) -> Row:
    """Of a driver, which begins no request late but by its lag; LoadGen's verdict judges a Server test."""
    known = events[events["first_token_ns"] > 0]
    if not len(known):
        return {}
    first = known["first_token_ns"] - known["issued_ns"]
    return {
        "ttft_p99_ms": percentile(first, 0.99) / 1e6,
        "tpot_p99_ms": percentile(tpot_ns(known), 0.99) / 1e6,
    }


def _verdict(trial: Trial) -> str:
    path = trial.folder / "inference" / SUMMARY_LOG
    if not path.exists():
        return ""
    is_valid = SummaryLog.read(path).is_valid
    return "" if is_valid is None else "VALID" if is_valid else "INVALID"


def _of_trial(trial: Trial, facts: WindowFacts, tokens: float, idle: float | None) -> Row:
    """What is the same in each row of a trial: its setting, and the figures of its whole window."""
    record = trial.record
    joules = facts.energy_j
    cap = record.read_back.get("cap_w")
    value = record.settings["value"]
    return {
        "trial": record.number,
        "order": record.order,
        "knob": record.settings["knob"],
        "knob_value": value,
        "cap_read_back": cap,
        "max_watt": cap,
        "window_tokens": tokens,
        "window_seconds": facts.seconds,
        "window_energy_j": joules,
        "window_integral_j": facts.integral_j,
        "window_energy_net_j": None if joules is None or idle is None else joules - idle * facts.seconds,
        "cap_binding": facts.capped,
        "thermal": facts.thermal,
        "reasons": " ".join(facts.reasons),
        "schema": SCHEMA,
    }


def _of_block(live: Sequence[LiveRecord], begin_s: float, end_s: float, tokens: float) -> Row:
    facts = window(live, begin_s, end_s)
    joules = facts.integral_j
    return {
        "timestamp": datetime.fromtimestamp(utc_of(live, begin_s), UTC).isoformat(timespec="milliseconds"),
        "tokens": tokens,
        "seconds": facts.seconds,
        "tokens_per_sec": tokens / facts.seconds,
        "power_draw": facts.watts,
        "total_power_draw": facts.watts,
        "energy_j": joules,
        "energy_per_token": joules / tokens if joules is not None and tokens else None,
        "temperature": facts.celsius[1] if facts.celsius else None,
        "gpu_utilization": None if facts.busy is None else 100 * facts.busy,
        "memory_utilization": None if facts.memory_busy is None else 100 * facts.memory_busy,
        "sm_mhz": facts.mhz,
    }
