"""One table of MLPerf's rules for LLM benchmarks, rounds v5.0 to v6.1, each number with its source.

A benchmark that the table does not have in a round is unofficial there: `lookup` gives None.
"""

from __future__ import annotations

from harness_llm.rules.access import (
    LATEST_ROUND,
    compliance_test,
    conf_names,
    expand_source,
    is_official,
    is_other_official,
    loadgen_model,
    lookup,
    nearest,
    round_of_seeds,
    round_rules,
    round_seeds,
    rounds,
    rounds_of,
    table,
)
from harness_llm.rules.by_round import BenchmarkRules
from harness_llm.rules.compare import compare_with_loadgen
from harness_llm.rules.model import (
    SIMULATED,
    UNOFFICIAL,
    AccuracyGate,
    BenchmarkRow,
    ComplianceTest,
    Generation,
    LatencyLimits,
    LengthWindow,
    Round,
    Scoring,
    Seeds,
    Table,
)

__all__ = [
    "LATEST_ROUND",
    "SIMULATED",
    "UNOFFICIAL",
    "AccuracyGate",
    "BenchmarkRow",
    "BenchmarkRules",
    "ComplianceTest",
    "Generation",
    "LatencyLimits",
    "LengthWindow",
    "Round",
    "Scoring",
    "Seeds",
    "Table",
    "compare_with_loadgen",
    "compliance_test",
    "conf_names",
    "expand_source",
    "is_official",
    "is_other_official",
    "loadgen_model",
    "lookup",
    "nearest",
    "round_of_seeds",
    "round_rules",
    "round_seeds",
    "rounds",
    "rounds_of",
    "table",
]
