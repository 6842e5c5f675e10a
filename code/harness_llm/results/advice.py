"""What to set so that the next run is VALID: for each way in which LoadGen calls a performance test INVALID.

The figures are LoadGen's own where it gives one, else recomputed from the events of the test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness_llm.core import NANOSECONDS_PER_MS, NANOSECONDS_PER_SECOND, counted
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.early_stopping import min_queries
from harness_llm.logs.schedule import is_real_rate
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.events import sound_events
from harness_llm.results.paths import EVENTS_NPY
from harness_llm.results.recompute import LimitCount, ServerLatencies, server_latencies
from harness_llm.results.records import TestRecord
from harness_llm.results.run_folder import TestFolder

_KEPT_UP = 0.95
"""Share of the target rate from which on it counts as held: the last answers take their time."""
_BELOW_HELD = 0.93
"""What to aim for where the queue grew: at the rate that is just held, waiting has no bound."""
_SLOWER = 0.9
"""What to aim for of a rate that was held, too late for the limit."""
_LEAST_STEP = 0.4
"""No advice lowers a rate by more than this at once: TPOT does not grow in proportion to the rate."""
_OFFLINE_ROOM = 1.05
"""LoadGen makes the samples of 1.1 times min_duration at target_qps; half of that room is kept."""
_OVER_LONGER = 1.2
_ENOUGH_HELD = 32  # answers that make a rate


def advice(folder: Path, record: TestRecord) -> tuple[str, ...]:
    """What to do about an INVALID or abandoned performance test, a sentence each; empty where all is well.

    Args:
        folder: The test's folder.
        record: Its test.json.
    """
    log = DetailLog.read(folder / DETAIL_LOG)
    if record.state == "complete" and (log.is_valid is not False or log.problems):
        return ()
    events, _ = sound_events(folder / EVENTS_NPY)
    test = _Test.of(record, log, events)
    return tuple(dict.fromkeys([*_stopped_early(test), *_too_short(test), *_too_slow(test)]))


def is_hopeless(folder: Path) -> bool:
    """Whether a performance test, ended or given up, is too slow at any rate, by its answers."""
    record, log = TestFolder(folder).record(), DetailLog.read(folder / DETAIL_LOG)
    events, _ = sound_events(folder / EVENTS_NPY)
    if events is not None:
        done = events["finished_ns"] > 0
        events = events if done.all() else events[: int(np.argmin(done))]
    return _no_rate_helps(dict(_over(_Test.of(record, log, events))))


@dataclass(frozen=True)
class _Test:
    """One test as far as advice needs it.

    Attributes:
        place: `my-model.Server`, before any key of user.conf.
        is_timed: Whether latencies of tokens are judged.
        target: The rate that was asked, samples/s.
        held: The rate at which answers were complete, samples/s; None where nobody knows.
        log: LoadGen's.
        latencies: From the events; None where they are not whole.
    """

    place: str
    is_timed: bool
    target: float
    held: float | None
    log: DetailLog
    latencies: ServerLatencies | None

    @classmethod
    def of(cls, record: TestRecord, log: DetailLog, events: npt.NDArray[Any] | None) -> _Test:
        held = log.number("result_completed_samples_per_sec") or log.samples_per_second
        latencies = None
        if events is not None and len(events) > 1:
            done = events[events["finished_ns"] > 0]
            held = held or _held(np.sort(done["finished_ns"]), int(events["issued_ns"].min()))
            seed, rate = log.integer("effective_schedule_rng_seed"), log.number("effective_target_qps")
            if len(done) == len(events) and seed is not None and rate and is_real_rate(rate):
                latencies = server_latencies(events, seed, rate)
        scenario = record.scenario
        place = f"{record.loadgen_model}.{scenario.loadgen_name}"
        target = log.number("effective_target_qps") or record.target_qps
        return cls(place, scenario.is_timed_per_token, target, held, log, latencies)

    @property
    def kept_up(self) -> bool:
        """Whether answers came as fast as queries."""
        return (self.held or 0) >= self.target * _KEPT_UP

    def setting(self, key: str) -> int:
        """A setting that LoadGen used, 0 where it has none."""
        return self.log.integer(f"effective_{key}") or 0

    def set(self, key: str, value: object) -> str:
        """The line of user.conf that would do."""
        return f"set {self.place}.{key} = {value}"


def _held(finished_ns: npt.NDArray[np.int64], began_ns: int) -> float | None:
    """Answers per second of an abandoned test in its second half, when its engine had filled.

    Of the whole of it where the second half has too few; None without any answer.
    """
    if not len(finished_ns) or finished_ns[-1] <= began_ns:
        return None
    last_ns = int(finished_ns[-1])
    later = finished_ns[finished_ns > (began_ns + last_ns) // 2]
    if len(later) < _ENOUGH_HELD:
        return len(finished_ns) * NANOSECONDS_PER_SECOND / (last_ns - began_ns)
    return len(later) * 2 * NANOSECONDS_PER_SECOND / (last_ns - began_ns)


# ---------------------------------------------------------------------- ended before it was long enough


def _stopped_early(test: _Test) -> Iterator[str]:
    """LoadGen was told to end before the test could count."""
    texts = " ".join(error.text for error in test.log.errors)
    count, least = test.log.integer("result_query_count") or 0, test.setting("min_query_count")
    after = f"ended the test after {counted(count, 'query', 'queries')}"
    if "Too many outstanding queries" in texts:
        yield (
            f"max_async_queries = {test.setting('max_async_queries')} {after}: "
            f"remove {test.place}.max_async_queries from user.conf"
        )
    if "Max test duration reached" in texts:
        needed = max(least / test.target * 1000, test.setting("min_duration_ms"))
        yield (
            f"max_duration {after}: "
            f"{test.set('max_duration', math.ceil(needed * _OVER_LONGER))}, or remove it"
        )
    if "Max query count reached" in texts and count < least:
        yield f"max_query_count {after}: remove {test.place}.max_query_count"


def _too_short(test: _Test) -> Iterator[str]:
    """An Offline test was over before min_duration: the samples were made for a slower system."""
    if test.log.value("result_min_duration_met") is not False or test.is_timed:
        return
    samples, rate = test.log.integer("generated_samples_per_query") or 0, test.held
    if not rate or not samples:
        return
    yield (
        f"ran {samples / rate:,.1f} of {test.setting('min_duration_ms') / 1000:,.1f} s, as target_qps = "
        f"{test.target:g} asks for {samples:,} samples and {_rounded(rate)} samples/s were held: "
        f"{test.set('target_qps', _rounded(rate * _OFFLINE_ROOM, math.ceil))}"
    )


# ---------------------------------------------------------------------- too slow


def _too_slow(test: _Test) -> Iterator[str]:
    """Over a latency limit: for too many samples, or for too few samples in all to allow any."""
    over = dict(_over(test))
    found = "".join(f"{_told(name, count, limit_ns)}, " for name, (count, limit_ns) in over.items())
    if over and all(count.p99_ns <= limit_ns for count, limit_ns in over.values()):
        least = max(min_queries(count.over) for count, _ in over.values())
        lower = f", or {_rate_line(test, over)}" if any(count.over for count, _ in over.values()) else ""
        yield f"{found}so it takes more samples: {test.set('min_query_count', least)} or more{lower}"
    elif over or (test.is_timed and test.log.value("result_perf_constraints_met") is not True):
        yield from (f"{found}{said}" for said in _slower(test, over))


def _told(name: str, count: LimitCount, limit_ns: int) -> str:
    p99, limit = count.p99_ns / NANOSECONDS_PER_MS, limit_ns / NANOSECONDS_PER_MS
    allowed = f"{count.allowed:,} may be" if count.allowed >= 0 else "too few in all to allow any"
    over = counted(count.over, "sample is", "samples are")
    return f"{name} p99 {p99:,.0f} of {limit:,.0f} ms ({over} over the limit, {allowed})"


def _over(test: _Test) -> Iterator[tuple[str, tuple[LimitCount, int]]]:
    """The limits that are not kept, by name: how many samples are over, and the limit, ns."""
    if not test.is_timed or test.latencies is None:
        return
    if test.log.value("requested_use_token_latencies") is True:
        keys = ("requested_server_ttft_latency", "requested_server_tpot_latency")
        limits = [test.log.integer(key) or 0 for key in keys]
        counts = test.latencies.against(limits[0], limits[1])
        pairs = [
            (name, (count, limit))
            for name, count, limit in zip(("TTFT", "TPOT"), counts, limits, strict=True)
        ]
    else:
        limit = test.setting("target_latency_ns")
        pairs = [("latency", (test.latencies.latency_within(limit), limit))]
    yield from ((name, found) for name, found in pairs if found[1] > 0 and not found[0].is_met)


def _slower(test: _Test, over: dict[str, tuple[LimitCount, int]]) -> Iterator[str]:
    if _no_rate_helps(over):
        fastest = over["TTFT"][0].least_ns / NANOSECONDS_PER_MS
        yield (
            f"even the fastest sample took {fastest:,.0f} ms, so no rate helps: use a faster engine, or, "
            "for a benchmark of your own, a higher ttft_latency"
        )
    elif test.held:
        of = "" if test.kept_up else f" of the {test.target:g} that came"
        yield f"held {_rounded(test.held)} samples/s{of}: {_rate_line(test, over)}"


def _no_rate_helps(over: dict[str, tuple[LimitCount, int]]) -> bool:
    """Whether even the fastest sample is over the limit of TTFT: the first query waits for no other."""
    return "TTFT" in over and over["TTFT"][0].least_ns > over["TTFT"][1]


def _rate_line(test: _Test, over: dict[str, tuple[LimitCount, int]]) -> str:
    """The rate to set, below what was held."""
    rate = min(test.held or test.target, test.target) * (_SLOWER if test.kept_up else _BELOW_HELD)
    if "TPOT" in over:  # it grows with the batch, and the batch with the rate
        count, limit_ns = over["TPOT"]
        rate *= max(_LEAST_STEP, min(1.0, limit_ns / max(1, count.p99_ns)))
    return test.set("target_qps", _rounded(rate, math.floor))


def _rounded(rate: float, to_whole: Callable[[float], int] = round) -> str:
    """A rate of any size to three significant digits: the nearest, or by `math.floor` or `math.ceil`."""
    digits = 2 - math.floor(math.log10(rate))
    return f"{to_whole(round(rate * 10.0**digits, 6)) / 10.0**digits:.15g}"
