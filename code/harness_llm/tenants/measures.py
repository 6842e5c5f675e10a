"""Figures of tenants, from the events that each left; pure functions of a study folder's files.

A percentile is the smallest value that so many percent do not exceed. Tokens are those of prompts where a
model is timed by forward passes, and those of answers where it generates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness_llm.core import NANOSECONDS_PER_SECOND
from harness_llm.driver.issuers import Schedule, Timed
from harness_llm.results.live_records import LiveRecord
from harness_llm.results.paths import SPEC_JSON, TEST_JSON
from harness_llm.results.reading import read_record
from harness_llm.results.records import TestRecord
from harness_llm.results.sample_rows import Floats, SampleRows, columns_of, read_sample_rows
from harness_llm.study.points import Trial
from harness_llm.study.windows import WindowFacts, prompt_tokens_between, tokens_between, window
from harness_llm.transport.spec import DriverSpec, read_spec

HOGS, STARVES = 0.85, 1.15  # of the mean slowdown
SLO_FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 8.0)


@dataclass(frozen=True)
class Iterations:
    """What one tenant did in one trial: a row a batch, or a request where it is not asked in batches.

    Attributes:
        start_s: When each was asked, by the host's monotonic clock.
        latency_ms: From when it was due to its last token, ms.
        ttft_ms: To its first token, ms; NaN where nobody asked for that.
        tpot_ms: For each further token, ms; NaN where there is none.
        tokens: See the module.
        measured: How many, the first, are measured; the rest only kept the others company.
    """

    start_s: Floats
    latency_ms: Floats
    ttft_ms: Floats
    tpot_ms: Floats
    tokens: Floats
    measured: int


def iterations(trial: Trial, name: str, counts: str) -> Iterations:
    """What a tenant did."""
    events = trial.events(name, tail=True)
    if not len(events):
        none = np.zeros(0)
        return Iterations(none, none, none, none, none, 0)
    rows, width = _rows(trial, name, events)
    measured = len(trial.events(name))
    tokens = (rows.prompt_tokens if counts == "prompt" else rows.tokens).astype(np.float64)
    tpot = np.where(rows.tokens > 1, rows.tpot_ms, np.nan)
    start_s = events["issued_ns"] / NANOSECONDS_PER_SECOND
    if width == 1:
        return Iterations(start_s, rows.latency_ms, rows.ttft_ms, tpot, tokens, measured)
    groups = len(events) // width

    def grouped(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return column[: groups * width].reshape(groups, width)

    begin, end = grouped(events["issued_ns"]).min(1), grouped(events["finished_ns"]).max(1)
    return Iterations(
        begin / NANOSECONDS_PER_SECOND, (end - begin) / 1e6, grouped(rows.ttft_ms).mean(1),
        grouped(tpot).mean(1), grouped(tokens).sum(1), measured // width,
    )  # fmt: skip


def _rows(trial: Trial, name: str, events: npt.NDArray[np.void]) -> tuple[SampleRows, int]:
    """A tenant's requests from when they were due, and how many make one iteration."""
    folder = trial.folder / name
    if (folder / TEST_JSON).exists():  # a LoadGen test
        return read_sample_rows(folder, read_record(folder / TEST_JSON, TestRecord)), 1
    test, due = read_spec(DriverSpec, folder / SPEC_JSON).test, events["issued_ns"]
    if test.rule == "timed":
        at_ns = Schedule.load(trial.folder / Path(test.schedule).name).at_ns[test.warm_up :]
        timed = Timed(at_ns, test.period_ns)
        go_ns = int(trial.record.loads[name]["go_ns"])
        due = np.array([go_ns + timed.time_ns(row) for row in range(len(events))], np.int64)
    return columns_of(events, due), test.width if test.rule == "groups" else 1


def percentile(values: Floats, share: float) -> float | None:
    """See the module; None of no values."""
    known = values[np.isfinite(values)]
    return float(np.percentile(known, 100 * share, method="inverted_cdf")) if len(known) else None


def _rate(tokens: float, seconds: float) -> float:
    return tokens / seconds if seconds else 0.0


def of_model(found: Iterations) -> dict[str, Any]:
    """The figures of one tenant in one trial, over its measured part; of no request, no time and no speed."""
    own = {name: getattr(found, name)[: found.measured] for name in ("latency_ms", "ttft_ms", "tpot_ms")}
    start_s, latency = found.start_s[: found.measured], own["latency_ms"]
    seconds = float((start_s + latency / 1000).max() - start_s.min()) if found.measured else 0.0
    tokens = int(found.tokens[: found.measured].sum())
    return {
        "num_iters": found.measured,
        "seconds": seconds,
        "tokens_processed": tokens,
        "throughput_tokens_per_s": _rate(tokens, seconds),
        "avg_ms": float(latency.mean()) if found.measured else None,
        **{f"p{q}_ms": percentile(latency, q / 100) for q in (50, 90, 95, 99)},
        **{
            f"{name}_p{q}_ms": percentile(own[f"{name}_ms"], q / 100)
            for name in ("ttft", "tpot")
            for q in (50, 99)
        },
    }


@dataclass(frozen=True)
class MeasuredSet:
    """One trial: the tenants that were asked at once, and the results.

    Attributes:
        trial: Its files.
        tenants: Their names.
        found: What each did.
        models: The figures of each.
        gpu: The figures of all together.
        facts: What accelerators and cores did meanwhile.
        counts: Which tokens count for each tenant: `prompt` or `answer`.
    """

    trial: Trial
    tenants: tuple[str, ...]
    found: Mapping[str, Iterations]
    models: Mapping[str, dict[str, Any]]
    gpu: dict[str, Any]
    facts: WindowFacts
    counts: Mapping[str, str]

    @property
    def began_s(self) -> float:
        """When the first request of all was asked."""
        return _began_s(self.trial, self.found)


def _began_s(trial: Trial, found: Mapping[str, Iterations]) -> float:
    starts = (float(own.start_s[0]) for own in found.values() if len(own.start_s))
    return min(starts, default=trial.record.began_s)


def measured(trial: Trial, counts: Mapping[str, str], live: Sequence[LiveRecord]) -> MeasuredSet:
    """The figures of one trial, by themselves; `beside_alone` adds those that need others.

    `gpu_tokens_per_s` is all tokens over the time from the first request to the last answer, as "sum of model
    throughputs divided by max completion time" has that unit in this reading alone. A tenant that ended early
    pulls it down; `gpu_tokens_per_s_overlap` counts while all of them work, whether measured or not.
    """
    names = tuple(str(trial.record.settings["tenants"]).split("+"))
    found = {name: iterations(trial, name, counts[name]) for name in names}
    models = {name: of_model(own) for name, own in found.items()}
    begin = _began_s(trial, found)
    end = max(
        (float(own.start_s[0]) + models[name]["seconds"] for name, own in found.items() if own.measured),
        default=begin,
    )
    gpu = {
        "gpu_tokens_per_s": _rate(sum(it["tokens_processed"] for it in models.values()), end - begin),
        "gpu_tokens_per_s_overlap": _overlap_rate(trial, names, counts),
        "sum_of_model_tokens_per_s": sum(it["throughput_tokens_per_s"] for it in models.values()),
    }
    return MeasuredSet(trial, names, found, models, gpu, window(live, begin, end), counts)


def _overlap_rate(trial: Trial, names: Sequence[str], counts: Mapping[str, str]) -> float | None:
    events = {name: trial.events(name, tail=True) for name in names}
    if not all(map(len, events.values())):
        return None
    begin = max(int(own["issued_ns"].min()) for own in events.values()) / NANOSECONDS_PER_SECOND
    end = min(int(own["finished_ns"].max()) for own in events.values()) / NANOSECONDS_PER_SECOND
    if end <= begin:
        return None
    edges = np.array([begin, end])
    return sum(float(tokens_of(trial, name, counts[name], edges)[0]) for name in names) / (end - begin)


def tokens_of(trial: Trial, name: str, counts: str, edges_s: Floats) -> Floats:
    """Tokens of a tenant in each stretch between edges, by the host's monotonic clock, its tail included."""
    between = prompt_tokens_between if counts == "prompt" else tokens_between
    return between(trial.events(name, tail=True), edges_s, max(trial.capacities(name), default=None))


def jain(values: Sequence[float]) -> float:
    """Jain's index of fairness: 1 where all are equal, 1/n where one has everything."""
    array = np.asarray(values, np.float64)
    return float(array.sum() ** 2 / (len(array) * (array**2).sum()))


def beside_alone(one: MeasuredSet, alone: Mapping[str, MeasuredSet]) -> None:
    """Add what sharing cost each tenant to its figures, by itself alone in the same trial of the same load.

    Slowdowns are by p50 and by p99; `progress` is the share of its own speed that it
    keeps. Of all together: system throughput (sum of progress), mean slowdown, and how evenly it is shared.
    """
    bases = {name: alone.get(name) for name in one.tenants}
    if len(one.tenants) < 2 or not all(
        base and base.found[name].measured and one.found[name].measured for name, base in bases.items()
    ):
        return
    for name, own in one.models.items():
        base = alone[name].models[name]
        own["slowdown"] = own["p50_ms"] / base["p50_ms"]
        own["slowdown_p99"] = own["p99_ms"] / base["p99_ms"]
        own["progress"] = own["throughput_tokens_per_s"] / base["throughput_tokens_per_s"]
        latency = one.found[name].latency_ms[: one.found[name].measured]
        own["slo"] = {f"{it:g}": float((latency <= it * base["p50_ms"]).mean()) for it in SLO_FACTORS}
    slowdowns = [own["slowdown"] for own in one.models.values()]
    mean = float(np.mean(slowdowns))
    for own in one.models.values():
        share = own["slowdown"] / mean
        own["standing"] = "hogs" if share < HOGS else "starves" if share > STARVES else "fair"
    progress = [own["progress"] for own in one.models.values()]
    one.gpu.update(
        system_throughput=sum(progress), mean_slowdown=mean, jain=jain(progress),
        cv=float(np.std(progress) / np.mean(progress)), max_over_min=max(progress) / min(progress),
    )  # fmt: skip
