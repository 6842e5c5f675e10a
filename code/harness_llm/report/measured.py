"""What a performance test left, read once and prepared for charts and words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from harness_llm.core import NANOSECONDS_PER_MS, NANOSECONDS_PER_SECOND, Scenario
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.report import curves
from harness_llm.report.curves import Curve
from harness_llm.report.phases import Phase, Stall, phases, stalls
from harness_llm.report.warned import Warned, warned
from harness_llm.results.energy import energy
from harness_llm.results.events import sound_events
from harness_llm.results.finished import engine_record
from harness_llm.results.live_file import read_live
from harness_llm.results.live_records import LiveRecord
from harness_llm.results.paths import EVENTS_NPY, TEST_JSON
from harness_llm.results.reading import read_record
from harness_llm.results.records import EngineRecord, TestRecord
from harness_llm.results.sample_rows import Floats, SampleRows, read_sample_rows
from harness_llm.results.token_times import begins_s

_LIMITS = {"TTFT": "requested_server_ttft_latency", "TPOT": "requested_server_tpot_latency"}


@dataclass(frozen=True)
class Measured:
    """One performance test.

    Attributes:
        folder: Its folder.
        record: Its test.json.
        detail: LoadGen's detail log.
        engine: What the first of its replicas said of itself.
        rows: Its samples.
    """

    folder: Path
    record: TestRecord
    detail: DetailLog
    engine: EngineRecord
    rows: SampleRows

    @classmethod
    def read(cls, folder: Path) -> Measured:
        """Read a test of a run folder, also one that broke.

        Raises:
            FolderError: It has no record, or no samples.
        """
        record, detail = read_record(folder / TEST_JSON, TestRecord), DetailLog.read(folder / DETAIL_LOG)
        engine = engine_record(folder.parent.parent, record.engines)
        return cls(folder, record, detail, engine, read_sample_rows(folder, record, detail))

    @property
    def scenario(self) -> Scenario:
        """Its scenario."""
        return self.record.scenario

    @property
    def is_timed(self) -> bool:
        """Whether first tokens were asked for."""
        return self.scenario.is_timed_per_token

    @property
    def limits_ms(self) -> dict[str, float]:
        """The limits that LoadGen judged by, by `TTFT` and `TPOT`, ms; empty where it judged none."""
        found = {name: self.detail.integer(key) for name, key in _LIMITS.items()}
        return {name: limit / NANOSECONDS_PER_MS for name, limit in found.items() if limit and self.is_timed}

    @cached_property
    def seconds(self) -> float:
        """Time of the last thing that happened, seconds."""
        return curves.duration_s(self.rows)

    @cached_property
    def edges_s(self) -> Floats:
        """Edges of the bins of time that charts have."""
        return curves.edges(self.seconds)

    @cached_property
    def begins_s(self) -> Floats:
        """When the engine began to generate each answer; see `token_times.begins_s`."""
        return begins_s(self.rows, self.engine.max_concurrent)

    @cached_property
    def rate(self) -> Curve:
        """Tokens/s over time."""
        return curves.token_rate(self.rows, self.begins_s, self.edges_s)

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """Ramp, steady part and tail."""
        return phases(self.rate)

    @cached_property
    def live(self) -> list[LiveRecord]:
        """The records of the run's live.jsonl; none where there is no such file."""
        return read_live(self.folder.parent.parent)

    @cached_property
    def origin_s(self) -> float | None:
        """The monotonic time, as live.jsonl has it, at which the times of `rows` are 0."""
        events, _ = sound_events(self.folder / EVENTS_NPY)
        if events is None:
            return None
        return int(events["issued_ns"][0]) / NANOSECONDS_PER_SECOND - float(self.rows.issued_s[0])

    @cached_property
    def live_while_it_ran(self) -> list[LiveRecord]:
        """Those of `live` between its first query and its last answer; none where that time is not known."""
        if (origin_s := self.origin_s) is None:
            return []
        return [it for it in self.live if origin_s <= it.at_s <= origin_s + self.seconds + 1]

    @cached_property
    def warned(self) -> list[Warned]:
        """What live.jsonl warned of while it was measured."""
        return [] if self.origin_s is None else warned(self.live, self.origin_s, self.seconds)

    def joules_per_token(self, phase: Phase) -> dict[str, float]:
        """J/token of a part, by the devices' counters and by their power over time; empty where not known."""
        if not self.live or self.origin_s is None:
            return {}
        found = energy(self.live, self.origin_s + phase.start_s, self.origin_s + phase.end_s)
        tokens = phase.tokens_per_s * (phase.end_s - phase.start_s)
        return {} if found is None else found.per_token(tokens)

    @cached_property
    def stalls(self) -> tuple[Stall, ...]:
        """When replicas stood still."""
        return stalls(self.rows, self.begins_s)

    @cached_property
    def replicas(self) -> tuple[int, ...]:
        """Numbers of the replicas that answered."""
        return tuple(int(number) for number in np.unique(self.rows.replica[self.rows.is_finished]))
