"""The benchmark, resolved once: its rules, its data (models/<folder>/benchmark.yaml), LoadGen's name."""

from __future__ import annotations

from harness_llm.benchmark.catalogue import all_datasets, all_facts, command_for, facts_of
from harness_llm.benchmark.definition import Facts
from harness_llm.benchmark.names import Benchmark, loadgen_names, resolve

__all__ = [
    "Benchmark",
    "Facts",
    "all_datasets",
    "all_facts",
    "command_for",
    "facts_of",
    "loadgen_names",
    "resolve",
]
