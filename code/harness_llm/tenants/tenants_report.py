"""What a tenants study leaves for others: a JSONL file a model, metrics.json, plots, and one page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness_llm.errors import FolderError
from harness_llm.files import write_atomically
from harness_llm.logs.source import SUMMARY_LOG
from harness_llm.logs.summary import SummaryLog
from harness_llm.results.live_file import read_live
from harness_llm.results.live_records import LiveRecord
from harness_llm.results.reading import as_json
from harness_llm.study.estimates import mean_of, readable
from harness_llm.study.pages import Grid, write_page, write_png
from harness_llm.study.points import trials_of
from harness_llm.study.runner import ASKED_JSON
from harness_llm.study.windows import utc_of
from harness_llm.tenants.measures import Iterations, MeasuredSet, beside_alone, measured
from harness_llm.tenants.plots import figures

METRICS_JSON = "metrics.json"
_SKEW_MS = 25.0
_FASTER = 1.05  # times its speed alone: sharing cannot do that
_GPU_COLUMNS = (
    "gpu_tokens_per_s", "gpu_tokens_per_s_overlap", "sum_of_model_tokens_per_s", "system_throughput",
    "mean_slowdown", "jain", "cv", "max_over_min",
)  # fmt: skip
_MODEL_COLUMNS = (
    "num_iters", "p50_ms", "p99_ms", "throughput_tokens_per_s", "ttft_p50_ms", "ttft_p99_ms", "tpot_p50_ms",
    "tpot_p99_ms", "slowdown", "slowdown_p99", "progress", "standing",
)  # fmt: skip


def write_tenants_report(folder: Path, plots: Path | None = None) -> list[str]:
    """Write everything into a study folder; what was found, a sentence each.

    Args:
        folder: The study's folder.
        plots: Where the pictures go; None: `plots` in that folder.

    Raises:
        FolderError: It is no tenants study, or has no trial yet.
    """
    asked, found, live = read_measured(folder)
    seats: dict[str, dict[str, str]] = asked["seats"]
    last = [one for one in found if len(one.tenants) == len(seats)]
    for one in last[:1]:
        for name in one.tenants:
            path = folder / name / "events.jsonl"
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, "".join(_lines(one, name, asked, live)))
    write_atomically(folder / METRICS_JSON, as_json(_metrics(found, asked["marker"])))
    lines = _sentences(found, len(seats))
    drawn = figures(found, live, len(seats), asked["marker"])
    plots = plots or folder / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for figure in drawn:
        write_png(figure, plots)
    title = f"{asked['experiment_name']}: {len(seats)} tenant{'s' * (len(seats) > 1)}"
    write_page(folder / "report.html", title, asked["marker"], lines, list(_grids(found)), drawn)
    return lines


def read_measured(folder: Path) -> tuple[dict[str, Any], list[MeasuredSet], list[LiveRecord]]:
    """What was asked, every trial with its figures, small sets first, and how it went second by second.

    Raises:
        FolderError: See `write_tenants_report`.
    """
    trials = trials_of(folder)
    asked = msgspec.json.decode((folder / ASKED_JSON).read_bytes()) if trials else {}
    if "seats" not in asked:
        raise FolderError(
            f"{folder}: has no trial of a tenants study", "Run `harness-llm study tenants` first."
        )
    counts = {name: seat["counts"] for name, seat in asked["seats"].items()}
    live = read_live(folder)
    found = [measured(trial, counts, live) for trial in trials]
    found.sort(key=lambda one: (len(one.tenants), one.trial.record.label, one.trial.record.number))
    for one in found:
        number = one.trial.record.number
        alone = {
            it.tenants[0]: it for it in found if len(it.tenants) == 1 and it.trial.record.number == number
        }
        beside_alone(one, alone)
    return asked, found, live


def _metrics(found: Sequence[MeasuredSet], marker: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "marker": marker,
        "trials": [
            {
                "tenants": list(one.tenants),
                "trial": one.trial.record.number,
                "skew_ms": one.trial.record.skew_ms,
                "reasons": _reasons(one),
                "gpu": {**one.gpu, **_utilization(one)},
                "models": one.models,
            }
            for one in found
        ],
    }


def _utilization(one: MeasuredSet) -> dict[str, float | None]:
    facts = one.facts
    return {
        "nvml_utilization": facts.busy, "nvml_memory_utilization": facts.memory_busy, "watts": facts.watts,
        "sm_mhz": facts.mhz, "energy_j": facts.energy_j, "busy_cores": facts.cores,
        "other_cores": facts.other_cores,
    }  # fmt: skip


def _reasons(one: MeasuredSet) -> list[str]:
    """Why a trial's figures may not count, beside what is the accelerators' own."""
    return ["start_skew"] if one.trial.record.skew_ms > _SKEW_MS else []


def _lines(
    one: MeasuredSet, name: str, asked: Mapping[str, Any], live: Sequence[LiveRecord]
) -> Iterator[str]:
    """The events of one model, an object a line, by the names that the original documents."""
    tenant = next(
        (it for it in asked["tenants"] if it["name"] == name), asked.get("single_model") or {"name": name}
    )
    model, found, seat = one.models[name], one.found[name], asked["seats"][name]
    yield _line(
        type="run_start", timestamp=utc_of(live, one.trial.record.began_s), tag=name,
        model_name=seat["model"], device=tenant.get("device") or asked["device"], config=tenant,
        num_iters=model["num_iters"],
        **{key: tenant.get(key) for key in ("batch_size", "seq_len", "num_warmup")},
    )  # fmt: skip
    for place in range(len(found.start_s)):
        yield _line(type="iteration", iter=place, **_iteration(found, place, one.began_s))
    yield _line(type="run_end", timestamp=utc_of(live, one.trial.record.ended_s), **model)
    yield _line(type="time_elapsed", sec=model["seconds"])


def _iteration(found: Iterations, place: int, begin_s: float) -> dict[str, Any]:
    times = {name: float(getattr(found, name)[place]) for name in ("latency_ms", "ttft_ms", "tpot_ms")}
    return {
        **{name: None if np.isnan(value) else value for name, value in times.items()},
        "start_s": float(found.start_s[place]) - begin_s,
        "tokens": int(found.tokens[place]),
        "phase": "measured" if place < found.measured else "tail",
    }


def _line(**keys: Any) -> str:
    return json.dumps(keys) + "\n"


def _sentences(found: Sequence[MeasuredSet], tenants: int) -> list[str]:
    lines = []
    together = [one for one in found if len(one.tenants) == tenants > 1]
    for one in together[:1] if together else found[:1]:
        lines += [_said(name, own) for name, own in one.models.items() if own["num_iters"]]
    lines += [
        f"{name}: no request was measured in {_label(one)}; its duration_s, or until, was too short for one."
        for one in found
        for name, own in one.models.items()
        if not own["num_iters"]
    ]
    compared = [one.gpu for one in together if "jain" in one.gpu]  # of a study that was stopped, not all
    if compared:
        work = mean_of([it["system_throughput"] for it in compared])
        lines.append(
            f"Together they do the work of {work} of {tenants} tenants that are alone; "
            f"evenness (Jain) {mean_of([it['jain'] for it in compared])}."
        )
    elif tenants > 1 and all(len(one.tenants) > 1 for one in found):
        lines.append("Nobody was measured alone: what sharing costs is known with --set matrix=solo.")
    lines += _faster_than_alone(found)
    if together:
        rate = mean_of([one.gpu["gpu_tokens_per_s"] for one in together])
        lines.append(f"All together: {rate} tokens/s until the last one was done.")
    if any(_reasons(one) for one in found):
        lines.append(f"Some loads began more than {_SKEW_MS:g} ms after others: see skew_ms.")
    if all(one.facts.devices == 0 for one in found):
        lines.append("No GPU was found: its utilization was not measured, cores were.")
    lines += [said for one in together[:1] for said in _verdicts(one)]
    return lines


def _faster_than_alone(found: Sequence[MeasuredSet]) -> Iterator[str]:
    faster = [
        f"{name} {own['progress']:.2f} times in {_label(one)}"
        for one in found
        for name, own in one.models.items()
        if own.get("progress", 0.0) > _FASTER
    ]
    if faster:
        yield (
            f"Faster beside others than alone: {', '.join(faster)}. What they share did not limit them "
            "alone; the host's threads may have. --set trials=5 shows how much windows differ."
        )


def _label(one: MeasuredSet) -> str:
    return f"{one.trial.record.label} #{one.trial.record.number}"


def _said(name: str, own: Mapping[str, Any]) -> str:
    said = f"{name}: {readable(own['throughput_tokens_per_s'])} tokens/s, p50 {readable(own['p50_ms'])} ms"
    if own["tpot_p50_ms"] is not None:
        said += f", TTFT p50 {readable(own['ttft_p50_ms'])} ms, TPOT p50 {readable(own['tpot_p50_ms'])} ms"
    if "slowdown" in own:
        said += f"; takes {own['slowdown']:.3g} times as long as alone ({own['standing']})"
    return f"{said}."


def _verdicts(one: MeasuredSet) -> Iterator[str]:
    for name in one.tenants:
        path = one.trial.folder / name / SUMMARY_LOG
        if path.exists():
            verdict = "VALID" if SummaryLog.read(path).is_valid else "INVALID"
            yield f"{name}: LoadGen says {verdict}, beside the others; no MLPerf result."


def _grids(found: Sequence[MeasuredSet]) -> Iterator[Grid]:
    yield Grid(
        "Each tenant", ("measured", "tenant", *_MODEL_COLUMNS),
        [
            [_label(one), name, *(own.get(column) for column in _MODEL_COLUMNS)]
            for one in found
            for name, own in one.models.items()
        ],
    )  # fmt: skip
    yield Grid(
        "All together", ("measured", *_GPU_COLUMNS, *_utilization(found[0]), "skew_ms"),
        [
            [
                _label(one), *(one.gpu.get(column) for column in _GPU_COLUMNS),
                *_utilization(one).values(), one.trial.record.skew_ms,
            ]
            for one in found
        ],
    )  # fmt: skip
