"""Look rules up: by benchmark and round, by LoadGen's names, by seeds."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import yaml

from harness_llm.core import Mode, Scenario
from harness_llm.errors import ConfigError
from harness_llm.rules.by_round import BenchmarkRules
from harness_llm.rules.schema import ComplianceTest, DecodingRule, Round, Seeds, Table

LATEST_ROUND = "v6.1"
TABLE = Path(__file__).with_name("table.yaml")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, where PyYAML was built with it
_COMMIT = re.compile(r"@([0-9a-f]{8})[0-9a-f]{32}")


@cache
def table() -> Table:
    """The table, read once from table.yaml beside this file and validated strictly."""
    text = TABLE.read_text(encoding="utf-8")
    return Table.model_validate(yaml.load(text, Loader=_LOADER))  # noqa: S506 - a SafeLoader


def rounds() -> tuple[str, ...]:
    """Names of the rounds that the table has, oldest first."""
    return tuple(table().rounds)


def round_rules(round_name: str) -> Round:
    """Layout and seeds of a round.

    Raises:
        KeyError: The table has no such round.
    """
    for name, row in table().rounds.items():
        if name == round_name:
            return row
    raise KeyError(round_name)


def round_seeds(round_name: str) -> Seeds:
    """The three seeds of a round.

    Raises:
        KeyError: The table has no such round.
    """
    return round_rules(round_name).seeds


def round_of_seeds(qsl: int, sample_index: int, schedule: int) -> str | None:
    """The round that has exactly these seeds, or None."""
    for name, row in table().rounds.items():
        if (row.seeds.qsl, row.seeds.sample_index, row.seeds.schedule) == (qsl, sample_index, schedule):
            return name
    return None


@cache
def lookup(benchmark: str, round_name: str = LATEST_ROUND) -> BenchmarkRules | None:
    """The rules of a benchmark in a round; None where it is unofficial there.

    Args:
        benchmark: Directory name, e.g. `llama2-70b-99.9`.
        round_name: E.g. `v6.1`.
    """
    found = table().benchmarks.get(benchmark)
    row = next((row for name, row in found.rounds.items() if name == round_name), None) if found else None
    if found is None or row is None:
        return None
    round_row = round_rules(round_name)
    return BenchmarkRules(
        name=benchmark,
        round=round_name,
        layout=round_row.layout,
        conf_name=found.conf_name,
        conf_source=found.conf_source,
        model=found.model,
        samples=found.samples,
        latency={s: limits for s, limits in found.latency.items() if s in row.allowed},
        accuracy=found.accuracy,
        scoring=found.scoring,
        length=found.length,
        generation=found.generation,
        min_duration_ms=int(table().run.min_duration_ms.value),
        seeds=round_row.seeds,
        row=row,
        tests={name: table().tests[name] for name in row.compliance},
    )


def rounds_of(benchmark: str) -> tuple[str, ...]:
    """The rounds in which a benchmark is official, oldest first; empty where it never was."""
    found = table().benchmarks.get(benchmark)
    return tuple(name for name in rounds() if found and name in found.rounds)


def is_official(benchmark: str) -> bool:
    """Whether any round of the table has this benchmark."""
    return benchmark in table().benchmarks


def is_other_official(benchmark: str, round_name: str) -> bool:
    """Whether a round has this benchmark without rules in this table: it is no LLM, or for the edge."""
    return any(benchmark in row.names for name, row in table().other_benchmarks.items() if name == round_name)


def loadgen_model(benchmark: str, scenario: Scenario) -> str:
    """The model name under which LoadGen looks its settings up.

    Official benchmarks have the name that mlperf.conf knows (`llama3.1-8b` is `llama3_1-8b` there);
    others keep their own. Interactive is LoadGen's Server under the name with `-interactive` appended.
    """
    found = table().benchmarks.get(benchmark)
    name = found.conf_name if found else benchmark
    return f"{name}-interactive" if scenario is Scenario.INTERACTIVE else name


@cache
def conf_names() -> frozenset[str]:
    """Every model name that LoadGen's embedded mlperf.conf knows."""
    names = set(table().other_conf_names.names)
    for benchmark in table().benchmarks.values():
        names.add(benchmark.conf_name)
        if Scenario.INTERACTIVE in benchmark.latency:
            names.add(f"{benchmark.conf_name}-interactive")
    return frozenset(names)


def compliance_test(name: str) -> ComplianceTest:
    """One compliance test by name.

    Raises:
        ConfigError: The table has no such test; names all tests, for a mistyped `performance` ends up here.
    """
    found = table().tests.get(name)
    if found is None:
        known = (*(mode.folder for mode in Mode), *table().tests)
        near = nearest(name, known)
        hint = f"Did you mean {near}? " if near else ""
        raise ConfigError(f"{name}: no such test", f"{hint}The tests are {', '.join(known)}.")
    return found


def decoding_rule(subject: str, round_name: str) -> DecodingRule:
    """The sentence about decoding that holds in a round.

    Raises:
        KeyError: The table has no such subject.
    """
    order = rounds()
    found = table().decoding[subject]
    return [row for row in found if order.index(row.since) <= order.index(round_name)][-1]


def nearest(name: str, known: Iterable[str] | None = None) -> str | None:
    """The known name that looks most like `name`, or None; by default among the official benchmarks."""
    choices = sorted(table().benchmarks if known is None else known)
    found = difflib.get_close_matches(name, choices, 1, 0.6)
    return found[0] if found else None


@cache
def expand_source(source: str) -> str:
    """Spell a source of the table out: `conf:85` becomes repository, short commit, file and line."""
    parts = []
    for part in filter(None, (piece.strip() for piece in source.split(";"))):
        name, _, lines = part.partition(":")
        file = _COMMIT.sub(r"@\1", table().files.get(name, name))
        noun = "line" if lines.isdigit() else "lines"
        parts.append(f"{file} {noun} {lines.replace(',', ', ')}" if lines else file)
    return "; ".join(parts)
