"""Checks of a run's own event file: every sample answered once, and LoadGen's figures made again from it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from harness_llm.check.case import Case
from harness_llm.check.judgement import INFERENCE, Check
from harness_llm.check.latency import over_limit_rule
from harness_llm.core import EventStatus
from harness_llm.logs.draws import Draw, issued_samples
from harness_llm.results.agreement import HANDED_OVER_S, logged_schedule
from harness_llm.results.events import sound_events
from harness_llm.results.paths import EVENTS_NPY
from harness_llm.results.recompute import server_latencies

_KINDS = ("ttft", "tpot")
_RATE_TOLERANCE = 0.02
# LoadGen's clock starts before it hands the first query over; in Offline that is a list of all samples.
_START_SECONDS = 0.1


def _events(case: Case) -> Iterator[Check]:
    """Every sample answered once; TTFT and TPOT from the scheduled times, by the harness's own clock."""
    path = case.performance / EVENTS_NPY
    if case.layout != "run":
        return
    events, problem = sound_events(path)
    if events is None:
        yield case.check(
            "events.file",
            False,
            str(problem),
            "an event file of the harness",
            remedy="Run the test again.",
            path=path,
        )
        return
    answered = int((events["status"] == EventStatus.FINISHED).sum())
    issued = case.detail.integer(
        "result_query_count" if case.scenario.is_timed_per_token else "generated_samples_per_query"
    )
    yield case.check(
        "events.complete",
        issued == len(events) == answered,
        f"{len(events)} samples issued, {answered} answered",
        f"{issued} samples, each answered",
        remedy="Run the test again.",
        path=path,
    )
    if len(events):
        yield from _event_order(case, events)
    if len(events) and answered == len(events):
        yield from _event_tokens(case, events)
        yield from _event_latencies(case, events)


def _event_order(case: Case, events: npt.NDArray[Any]) -> Iterator[Check]:
    """Each sample was issued, begun and ended in this order, and is the one that LoadGen drew."""
    issued, first, ended = (events[f"{what}_ns"] for what in ("issued", "first_token", "finished"))
    done = events["status"] == EventStatus.FINISHED
    wrong = {
        "end before they are issued": done & (ended < issued),
        "have a first token before they are issued": (first > 0) & (first < issued),
        "have a first token after they end": done & (first > ended),
        "are issued before the one above them": np.diff(issued, prepend=issued[:1]) < 0,
        "have no first token": done & (first <= 0) & case.scenario.is_timed_per_token,
    }
    found = [f"{int(rows.sum())} samples {what}" for what, rows in wrong.items() if rows.any()]
    draw = Draw.of_log(case.detail)
    samples = array("q", events["sample"].tolist())
    if draw and samples not in issued_samples(draw):
        found.append("other samples than LoadGen drew")
    yield case.check(
        "events.order",
        not found,
        "; ".join(found) or "in order",
        "samples that LoadGen drew, issued in turn, each begun and ended after that",
        source=f"{INFERENCE} loadgen/loadgen.cc lines 280-432",
        remedy="Run the test again; these events are not of this run.",
        path=case.performance / EVENTS_NPY,
    )


def _event_tokens(case: Case, events: npt.NDArray[Any]) -> Iterator[Check]:
    total = int(events["tokens"].sum())
    rate, unit, counted = case.detail.tokens_per_second, "tokens", total
    if rate is None:  # Offline without use_token_latencies
        rate, unit, counted = case.detail.samples_per_second, "samples", len(events)
    # Server's rate ends with the query that was issued last, not with the one that ended last.
    finished = events["finished_ns"][-1] if case.scenario.is_timed_per_token else events["finished_ns"].max()
    seconds = (int(finished) - int(events["issued_ns"].min())) / 1e9
    ours = total / seconds if seconds > 0 else math.inf
    logged = counted / rate if rate else math.inf
    room = _START_SECONDS + HANDED_OVER_S * len(events)
    yield case.check(
        "events.tokens",
        int(events["tokens"].min()) > 1
        and math.isclose(seconds, logged, rel_tol=_RATE_TOLERANCE, abs_tol=room),
        f"{total} tokens in {seconds:.3f} s: {ours:.2f} tokens/s, shortest answer {events['tokens'].min()}",
        f"LoadGen's {rate} {unit}/s within 2 % or {room:.2g} s, no answer below 2 tokens",
        source=f"{INFERENCE} loadgen/results.cc lines 445-455, 601",
        remedy="Run the test again; events and log are not of one run.",
        path=case.performance / EVENTS_NPY,
    )


def _event_latencies(case: Case, events: npt.NDArray[Any]) -> Iterator[Check]:
    schedule = logged_schedule(case.detail, case.settings.get("target_qps"))
    if case.limits_ns is None or schedule is None:
        return
    latencies = server_latencies(events, *schedule)
    logged = (case.detail.ttft_p99_ns, case.detail.tpot_p99_ns)
    counts = latencies.against(*case.limits_ns)
    for kind, count, value, limit in zip(_KINDS, counts, logged, case.limits_ns, strict=True):
        near = value is not None and abs(count.p99_ns - value) <= 2_000_000 + value // 50
        shown = "none" if value is None else f"{value / 1e6:.3f} ms"
        required, remedy = over_limit_rule(len(events), count.allowed)
        yield case.check(
            f"events.{kind}",
            near and count.is_met,
            f"99th percentile {count.p99_ns / 1e6:.3f} ms, {count.over} over {limit / 1e6:g} ms",
            f"LoadGen's {shown} within 2 ms + 2 %, {required}",
            source=f"{INFERENCE} loadgen/results.cc lines 110-136, 227-247",
            remedy=remedy if near else "Run the test again; events and log are not of one run.",
            path=case.performance / EVENTS_NPY,
        )


EVENT_CHECKS = (_events,)
