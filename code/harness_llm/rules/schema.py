"""The shape of the rules table: strict, frozen, and each value beside its source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness_llm.core import NANOSECONDS_PER_MS, Scenario

SIMULATED = "simulated, not a result"
"""What must stand beside a number where the answers were made up by the simulated engine."""

UNOFFICIAL = "unofficial: not a result of an MLPerf benchmark"
"""The same where the benchmark is none of MLPerf's, or was not run as the rules ask."""

RoundName = Literal["v5.0", "v5.1", "v6.0", "v6.1"]
_Scenario = Annotated[Scenario, Field(strict=False)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    source: str = ""
    note: str = ""


class RuleNumber(_Row):
    """One number that holds for every benchmark."""

    value: float


class RunRules(BaseModel):
    """What holds for every benchmark and round.

    Attributes:
        min_duration_ms: Shortest legal performance run, ms.
        latency_percentile: Share of the Server queries that must be within the limits, 0..1.
        max_accuracy_log_bytes: Largest accuracy log that may be submitted, bytes.
        max_file_bytes: Largest file that may be submitted, bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_duration_ms: RuleNumber
    latency_percentile: RuleNumber
    max_accuracy_log_bytes: RuleNumber
    max_file_bytes: RuleNumber


class Seeds(_Row):
    """The three random seeds of a round, unsigned 64-bit."""

    qsl: int
    sample_index: int
    schedule: int

    def as_settings(self) -> dict[str, int]:
        """The seeds under the names that `TestSettings` and the detail log use."""
        return {
            "qsl_rng_seed": self.qsl,
            "sample_index_rng_seed": self.sample_index,
            "schedule_rng_seed": self.schedule,
        }


class Round(BaseModel):
    """One round: its seeds, and which of the two tree layouts it uses."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    layout: Literal["v5", "v6"]
    seeds: Seeds


class SampleCounts(_Row):
    """How many samples a run must cover.

    Attributes:
        performance: Fewest loaded samples in performance mode.
        accuracy: Exact number of samples in accuracy mode.
        offline_minimum: Fewest samples in the Offline query, as the checker counts.
        offline_queries: `min_query_count` of an Offline run in which user.conf sets none; None where that
            depends on the release of LoadGen.
    """

    performance: int
    accuracy: int
    offline_minimum: int
    offline_queries: int | None


class LatencyLimits(_Row):
    """99th-percentile limits of TTFT and TPOT, ms."""

    ttft_ms: int
    tpot_ms: int

    @property
    def ttft_ns(self) -> int:
        """Limit of the time to first token, ns."""
        return self.ttft_ms * NANOSECONDS_PER_MS

    @property
    def tpot_ns(self) -> int:
        """Limit of the time per output token, ns."""
        return self.tpot_ms * NANOSECONDS_PER_MS


class AccuracyGate(_Row):
    """One score, named as accuracy.txt names it, that must reach `reference` times `factor`."""

    metric: str
    reference: float
    factor: float

    @property
    def gate(self) -> float:
        """Lowest passing score, in the unit of the reference."""
        return self.reference * self.factor


class Scoring(_Row):
    """What computes the scores of an accuracy run; `source` is MLCommons' own script.

    Attributes:
        metric: Name of the metric of this harness that computes what the script does; None where none does.
        counted: Of scores that are a share of right answers, in percent: of how many.
    """

    metric: str | None
    counted: dict[str, int] = {}

    @property
    def script(self) -> str:
        """The script, as the table's `files` name it."""
        return self.source.partition(":")[0]


class LengthWindow(_Row):
    """How long the answers of an accuracy run must be, bounds included.

    Attributes:
        metric: Key in accuracy.txt: `tokens_per_sample`, or `gen_len` (characters of all answers).
        low: Lower bound, None where the rules have none.
        high: Upper bound.
    """

    metric: str
    low: float | None
    high: float


class Generation(_Row):
    """Output limits of one answer, tokens, and whether decoding is greedy.

    Attributes:
        min_tokens: Fewest new tokens by the rules; LoadGen itself counts one token as an error.
        max_tokens: Most new tokens in performance mode.
        max_tokens_accuracy: Most new tokens in accuracy mode.
        greedy: Whether the rules ask for greedy decoding.
    """

    min_tokens: int
    max_tokens: int
    max_tokens_accuracy: int
    greedy: bool


class Speculation(_Row):
    """Speculative decoding that a round allows for a benchmark, in one scenario and one way.

    Attributes:
        scenario: The scenario.
        method: `eagle3` or `mtp`.
        tokens: Tokens that are proposed at a time.
        head: The reference head, on the Hugging Face hub.
    """

    scenario: _Scenario
    method: str
    tokens: int
    head: str


class DecodingRule(_Row):
    """One sentence of the rules about decoding.

    Attributes:
        since: First round that has it so.
        says: The sentence.
    """

    since: RoundName
    says: str


class RoundRow(_Row):
    """What one round asks of one benchmark.

    Attributes:
        required: Scenarios that closed must have.
        one_of: Scenarios of which closed must have at least one.
        optional: Further scenarios that closed may have.
        compliance: Compliance tests of each scenario.
        speculation: Speculative decoding that it allows; None for none.
    """

    required: tuple[_Scenario, ...] = Field(strict=False)
    one_of: tuple[_Scenario, ...] = Field(default=(), strict=False)
    optional: tuple[_Scenario, ...] = Field(default=(), strict=False)
    compliance: tuple[str, ...] = Field(strict=False)
    speculation: Speculation | None = None

    @property
    def allowed(self) -> frozenset[Scenario]:
        """Every scenario that a closed submission may hold."""
        return frozenset((*self.required, *self.one_of, *self.optional))


class BenchmarkRow(BaseModel):
    """What holds for one benchmark in every round; the key in the table is its directory name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    conf_name: str
    conf_source: str
    model: str
    samples: SampleCounts
    latency: dict[_Scenario, LatencyLimits]
    accuracy: tuple[AccuracyGate, ...] = Field(strict=False)
    scoring: Scoring
    length: LengthWindow
    generation: Generation
    rounds: dict[RoundName, RoundRow]


class ComplianceTest(_Row):
    """One compliance test.

    Attributes:
        result_file: File that the verification writes into the test's folder.
        audit: Keys of audit.config, all under `*.*.`.
        audit_since: First round whose logs must show a key of `audit`; a key that is not named holds for all.
        metric: Name of the metric that its answers are scored by, or None.
        accuracy_at_least: Lowest passing score, percent, or None.
        tokens_per_sample: Bounds of the mean output length, tokens, or None.
    """

    result_file: str
    audit: dict[str, int]
    audit_since: dict[str, RoundName] = Field(default_factory=dict)
    metric: str | None = None
    accuracy_at_least: float | None = None
    tokens_per_sample: dict[Literal["low", "high"], float] | None = None


class Names(_Row):
    """Names that the rules know and the table has no rules for."""

    names: frozenset[str] = Field(strict=False)


class FolderNames(_Row):
    """Further names of benchmarks' folders in a tree, and the benchmark that each means."""

    names: dict[str, str]


class Table(BaseModel):
    """The whole table, as it lies in table.yaml.

    Attributes:
        other_benchmarks: By round, the official benchmarks that this project does not judge.
        folder_names: Further names of benchmarks' folders, which the official checker maps to them.
        other_conf_names: Names in mlperf.conf beside those of the benchmarks.
        decoding: By subject, what the rules say of decoding, oldest round first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: dict[str, str]
    run: RunRules
    rounds: dict[RoundName, Round]
    tests: dict[str, ComplianceTest]
    benchmarks: dict[str, BenchmarkRow]
    other_benchmarks: dict[RoundName, Names]
    other_conf_names: Names
    folder_names: FolderNames
    decoding: dict[str, Annotated[tuple[DecodingRule, ...], Field(strict=False)]]
