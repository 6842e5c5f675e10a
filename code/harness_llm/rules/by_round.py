"""The rules of one benchmark in one round, put together from the rows of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from harness_llm.core import Mode, Scenario
from harness_llm.rules.schema import (
    AccuracyGate,
    ComplianceTest,
    Generation,
    LatencyLimits,
    LengthWindow,
    RoundRow,
    SampleCounts,
    Scoring,
    Seeds,
)


@dataclass(frozen=True)
class BenchmarkRules:
    """The rules of one benchmark in one round; what `lookup` gives.

    Attributes:
        name: Directory name, e.g. `llama2-70b-99.9`.
        round: Round name, e.g. `v6.1`.
        conf_name: Name in mlperf.conf and user.conf, e.g. `llama2-70b`.
        min_duration_ms: Shortest legal performance run, ms.
        seeds: Seeds of the round.
        row: What the round asks of the benchmark.
        tests: The compliance tests that the round asks for, by name.
    """

    name: str
    round: str
    layout: Literal["v5", "v6"]
    conf_name: str
    conf_source: str
    model: str
    samples: SampleCounts
    latency: Mapping[Scenario, LatencyLimits]
    accuracy: tuple[AccuracyGate, ...]
    scoring: Scoring
    length: LengthWindow
    generation: Generation
    min_duration_ms: int
    seeds: Seeds
    row: RoundRow
    tests: Mapping[str, ComplianceTest]

    def loadgen_model(self, scenario: Scenario) -> str:
        """The model name under which LoadGen looks its settings up."""
        return f"{self.conf_name}-interactive" if scenario is Scenario.INTERACTIVE else self.conf_name

    def output_limit(self, mode: Mode) -> int:
        """Most new tokens of an answer: every sample is to be asked with this limit."""
        row = self.generation
        return row.max_tokens_accuracy if mode is Mode.ACCURACY else row.max_tokens
