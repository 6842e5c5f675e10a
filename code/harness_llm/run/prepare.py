"""Read and check every input of a run; nothing is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from harness_llm import rules
from harness_llm.benchmark import Benchmark, loadgen_names, resolve
from harness_llm.config.harness import RunConfig
from harness_llm.config.user_conf import UserConf
from harness_llm.core import Scenario
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import ConfigError, UsageError
from harness_llm.run.groups import TestGroup, plan_fleet
from harness_llm.run.identity import digest, identity
from harness_llm.run.inputs import (
    check_decoding,
    check_loadgen,
    check_model,
    check_rate,
    check_same_benchmark,
    check_tests,
)
from harness_llm.run.memory import memory_notes
from harness_llm.run.notes import notes_on
from harness_llm.run.plan import TESTS, plan_test
from harness_llm.run.samples import load_tables, samples_file, shared_table
from harness_llm.transport.spec import LoadgenTest


@dataclass(frozen=True)
class Prepared:
    """A run whose every input was read and checked; nothing is started.

    Attributes:
        benchmark: The benchmark, with its rules.
        configs: One for each scenario, in the order given; each names the benchmark by its own name.
        table: The samples of every test that has none of its own.
        user_conf: LoadGen's user.conf.
        groups: What will run, in order.
        own_tables: By the name of a test, `accuracy` or `TEST07`, the samples that it runs on instead.
        notes: What people should know before it starts, a sentence each.
    """

    benchmark: Benchmark
    configs: tuple[RunConfig, ...]
    table: SampleTable
    user_conf: UserConf
    groups: tuple[TestGroup, ...]
    own_tables: Mapping[str, SampleTable] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def tests(self) -> tuple[LoadgenTest, ...]:
        """All tests, in the order in which they run."""
        return tuple(test for group in self.groups for test in group.tests)

    def rate_share(self, test: LoadgenTest) -> float | None:
        """The share of what the machine holds at which a test is asked; None: user.conf says the rate."""
        return next(group.rate_shares.get(test.scenario) for group in self.groups if test in group.tests)

    @property
    def is_simulated(self) -> bool:
        """Whether any answer is made up."""
        return any(config.engine.is_simulated for config in self.configs)

    @property
    def marker(self) -> str:
        """What to write beside every number; empty for an official benchmark on a known engine."""
        return mark_of(self.configs, self.benchmark)

    @cached_property
    def identity(self) -> dict[str, str]:
        """Everything that decides what is measured, by name."""
        return identity(self.configs, self.user_conf, self.table, self.own_tables)

    @cached_property
    def fingerprint(self) -> str:
        """Equal for two runs that can be joined."""
        return digest(self.identity)


def mark_of(configs: Sequence[RunConfig], benchmark: Benchmark) -> str:
    """What to write beside every number of these configurations of a benchmark; may be empty."""
    if any(config.engine.is_simulated for config in configs):
        return rules.SIMULATED
    unofficial = "" if benchmark.is_official else "unofficial"
    marks = (*(config.engine.marker_of(config.llm_config) for config in configs), unofficial)
    return "; ".join(dict.fromkeys(filter(None, marks)))


def prepare(
    configs: Sequence[RunConfig], tests: Sequence[str] = TESTS, user_conf: UserConf | None = None
) -> Prepared:
    """Read and check everything that a run needs.

    Args:
        configs: One for each scenario, of one benchmark.
        tests: Which of `performance`, `accuracy` and the benchmark's compliance tests.
        user_conf: LoadGen's user.conf; None reads the one that the configurations name.

    Raises:
        UsageError: Something cannot work; says what and what would do.
    """
    check_same_benchmark(configs)
    benchmark = resolve(configs[0].harness_config.benchmark)
    configs = [_named(config, benchmark.name) for config in configs]
    user_conf = _first_look(configs, benchmark, user_conf)
    scenarios = [config.harness_config.scenario for config in configs]
    said = user_conf.validate(benchmark, scenarios, models=loadgen_names())
    user_conf = replace(user_conf, notes=(*user_conf.notes, *said))
    sharing = [
        [config for config in configs if config.engine_key == key]
        for key in dict.fromkeys(config.engine_key for config in configs)
    ]
    fleets = [plan_fleet(group) for group in sharing]  # raises where the host has too few devices
    for scenario in scenarios:
        check_loadgen(benchmark, scenario)
    asked = tuple(dict.fromkeys(tests))
    table, own = load_tables(configs, asked, benchmark)
    groups = tuple(
        TestGroup(
            fleet,
            tuple(
                plan_test(
                    config, test, user_conf, benchmark, len(own.get(test, table)), samples_file(test, own)
                )
                for config in group
                for test in asked
            ),
            {
                harness.scenario: harness.measured_rate
                for harness in (config.harness_config for config in group)
                if harness.measured_rate is not None
            },
        )
        for fleet, group in zip(fleets, sharing, strict=True)
    )
    tables = {test: own.get(test, table) for test in ("performance", *asked)}
    notes = (*notes_on(configs, asked, tables, user_conf, benchmark), *memory_notes(configs))
    return Prepared(benchmark, tuple(configs), table, user_conf, groups, own, notes)


def _first_look(configs: Sequence[RunConfig], benchmark: Benchmark, user_conf: UserConf | None) -> UserConf:
    """Check all that depends on nothing else, so that one call tells all that is missing or wrong; user.conf.

    Raises:
        UsageError: user.conf, a model or the data set cannot be used, or a rule is broken; names each.
    """
    first = configs[0].harness_config
    model = benchmark.loadgen_model(Scenario.OFFLINE)
    found: list[UserConf] = []
    checks: list[Callable[[], object]] = [
        lambda: found.append(user_conf or UserConf.read(first.user_conf, model))
    ]
    for check_one in (check_decoding, check_tests, check_rate):
        checks += [partial(check_one, config, benchmark) for config in configs]
    checks += [partial(check_model, config) for config in configs]
    path = getattr(first.dataset, "path", None)
    if isinstance(path, Path) and not path.exists():
        checks.append(partial(shared_table, configs[0], benchmark))
    problems: dict[str, UsageError] = {}
    for check in checks:
        try:
            check()
        except UsageError as error:
            problems.setdefault(str(error), error)
    if len(problems) == 1:
        raise next(iter(problems.values()))
    if problems:
        raise ConfigError("\n".join(problems))
    return found[0]


def _named(config: RunConfig, benchmark: str) -> RunConfig:
    """The configuration with the benchmark's own name, whatever the user called it."""
    harness = config.harness_config.model_copy(update={"benchmark": benchmark})
    return config.model_copy(update={"harness_config": harness})
