"""The samples of one test as columns: when each was due, begun and finished, and how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from harness_llm.core import NANOSECONDS_PER_MS, NANOSECONDS_PER_SECOND, EventStatus
from harness_llm.errors import FolderError
from harness_llm.logs.detail import SIX_DIGITS, DetailLog
from harness_llm.logs.schedule import is_real_rate
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.events import sound_events
from harness_llm.results.paths import EVENTS_NPY
from harness_llm.results.recompute import Integers, due_ns
from harness_llm.results.records import TestRecord

Floats = npt.NDArray[np.float64]
_LOW_64 = 2**64 - 1


@dataclass(frozen=True)
class SampleRows:
    """The samples of one test, each field a column, shape (samples,), in the order of issue.

    Times count from the start of the test; one that never came is NaN.

    Attributes:
        query: Number of the query in the order of issue, from 0.
        sample: Index into the sample table.
        replica: Number of the replica that answered; -1 where none had been chosen.
        status: `EventStatus`.
        prompt_tokens: Tokens of the prompt.
        tokens: Tokens of the answer.
        arrival_s: When LoadGen's schedule says that the query was due, seconds; when it was issued, in
            Offline and where the log that gives seed and rate is missing.
        issued_s: When LoadGen issued it, seconds.
        first_token_s: When its first token came, seconds; NaN in Offline, which does not ask for it.
        finished_s: When its last token came, seconds.
        ttft_ms: Time to first token, from arrival, ms.
        tpot_ms: Time per output token after the first, ms.
        latency_ms: From arrival to the last token, ms.
    """

    query: Integers
    sample: Integers
    replica: Integers
    status: Integers
    prompt_tokens: Integers
    tokens: Integers
    arrival_s: Floats
    issued_s: Floats
    first_token_s: Floats
    finished_s: Floats
    ttft_ms: Floats
    tpot_ms: Floats
    latency_ms: Floats

    def __len__(self) -> int:
        return len(self.query)

    def __getitem__(self, chosen: npt.NDArray[Any]) -> Self:
        return type(self)(**{name: column[chosen] for name, column in self.columns().items()})

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Every column by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def is_finished(self) -> npt.NDArray[np.bool_]:
        """Whether each was answered."""
        finished: npt.NDArray[np.bool_] = self.status == EventStatus.FINISHED
        return finished


def read_sample_rows(test: Path, record: TestRecord, detail: DetailLog | None = None) -> SampleRows:
    """The samples of a test, also of one that broke.

    Args:
        test: Its folder.
        record: Its test.json.
        detail: Its detail log, where it was read before.

    Raises:
        FolderError: It has no events, or none that can be read.
    """
    events, problem = sound_events(test / EVENTS_NPY)
    if events is None:
        raise FolderError(f"{test}: {problem}", "Give a run that measured something.")
    if not len(events):
        raise FolderError(f"{test}: no query was issued", "Give a run that measured something.")
    due = _due(events, record, detail or DetailLog.read(test / DETAIL_LOG))
    return columns_of(events, due)


def _due(events: npt.NDArray[np.void], record: TestRecord, detail: DetailLog) -> Integers:
    issued: Integers = events["issued_ns"]
    seed, rate = detail.integer("effective_schedule_rng_seed"), detail.number("effective_target_qps")
    if not record.scenario.is_timed_per_token or seed is None or not rate or not is_real_rate(rate):
        return issued
    if math.isclose(record.target_qps, rate, rel_tol=SIX_DIGITS):  # the log has six digits of it
        rate = record.target_qps
    return due_ns(events, seed & _LOW_64, rate)


def columns_of(events: npt.NDArray[np.void], due: Integers) -> SampleRows:
    """The samples of an events file, given when each was due by the events' clock, nanoseconds."""
    start = int(min(due.min(), events["issued_ns"].min()))
    first, last = events["first_token_ns"], events["finished_ns"]
    steps = np.maximum(events["tokens"] - 1, 1)
    is_timed, is_over = (first > 0), (last > 0) & (events["status"] == EventStatus.FINISHED)
    return SampleRows(
        query=np.arange(len(events)),
        **{name: events[name].copy() for name in ("sample", "replica", "status", "prompt_tokens", "tokens")},
        arrival_s=(due - start) / NANOSECONDS_PER_SECOND,
        issued_s=(events["issued_ns"] - start) / NANOSECONDS_PER_SECOND,
        first_token_s=_where(is_timed, first - start, NANOSECONDS_PER_SECOND),
        finished_s=_where(is_over, last - start, NANOSECONDS_PER_SECOND),
        ttft_ms=_where(is_timed, first - due, NANOSECONDS_PER_MS),
        # Whole nanoseconds, as LoadGen divides.
        tpot_ms=_where(is_timed & is_over, (last - first) // steps, NANOSECONDS_PER_MS),
        latency_ms=_where(is_over, last - due, NANOSECONDS_PER_MS),
    )


def _where(known: npt.NDArray[np.bool_], nanoseconds: Integers, unit: int) -> Floats:
    found: Floats = np.where(known, nanoseconds / unit, np.nan)
    return found
