"""The tests of a run in groups that share loaded engines, and how they are measured one after the other."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from harness_llm.config.harness import RunConfig
from harness_llm.core import Mode, Scenario
from harness_llm.engines import KINDS
from harness_llm.engines.vllm_decoding import has_made_up_weights
from harness_llm.errors import HostError
from harness_llm.fleet.fleet import Fleet, FleetPlan, ReplicaPlan
from harness_llm.fleet.measurement import TestResult
from harness_llm.fleet.watch import Watch
from harness_llm.launch.placement import replica_environments
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.run_folder import RunFolder
from harness_llm.run.identity import EngineFactsBefore
from harness_llm.run.rate import HeldRate
from harness_llm.transport.spec import LoadgenTest

Measure = Callable[[Fleet, LoadgenTest, Path], TestResult]
"""Measures a test on loaded engines into a folder."""

_BYTES_A_SAMPLE = EVENT_DTYPE.itemsize * 3  # events of a few queries a sample
_LOG_BYTES_A_TOKEN = 8  # hexadecimal int32 in LoadGen's accuracy log
_BYTES_BESIDE = 64 << 20


@dataclass(frozen=True)
class TestGroup:
    """Tests that are measured on the same loaded engines.

    Attributes:
        fleet: The engines.
        tests: In the order in which they run.
        rate_shares: By scenario whose rate is measured before its tests, the share of it that they get.
    """

    __test__ = False  # no pytest class

    fleet: FleetPlan
    tests: tuple[LoadgenTest, ...]
    rate_shares: Mapping[Scenario, float] = field(default_factory=dict)


def plan_fleet(configs: Sequence[RunConfig]) -> FleetPlan:
    """What is loaded for scenarios that share their engines; the most patient of their timeouts hold.

    Raises:
        ConfigError: More devices are asked for than the host has.
    """
    first = configs[0]
    harnesses = [config.harness_config for config in configs]
    engine, environments = first.engine, replica_environments(first)
    stalls = [harness.stall_timeout_s for harness in harnesses]
    return FleetPlan(
        name="-".join(harness.scenario for harness in harnesses),
        replicas=tuple(
            ReplicaPlan(engine.kind, engine.replica_arguments(first.llm_config, number), environment)
            for number, environment in enumerate(environments)
        ),
        start_timeout_s=max(harness.engine_start_timeout_s for harness in harnesses),
        silence_timeout_s=max(harness.silence_timeout_s for harness in harnesses),
        stall_timeout_s=None if None in stalls else max(filter(None, stalls)),
        end_tokens=first.end_tokens,
        may_repeat=has_made_up_weights(first.llm_config),
    )


def measure_once(fleet: Fleet, test: LoadgenTest, folder: Path) -> TestResult:
    """Measure a test as it is; one that cannot be VALID any more is given up."""
    return fleet.measure(test, folder, lambda progress: progress.lost)


def measure_groups(
    watch: Watch,
    folder: RunFolder,
    groups: Sequence[TestGroup],
    after_test: Callable[[Path], None],
    measure: Measure = measure_once,
) -> str:
    """Run every test that is not complete yet, and follow up on each that was not followed up.

    Args:
        watch: Who watches the children.
        folder: The run's folder, held.
        groups: What to run.
        after_test: Called once with the folder of each test that LoadGen ended by itself, on a thread of
            its own, so that the children are watched meanwhile.
        measure: Measures each test.

    Returns:
        Why the run was given up before its last test; empty if it was not.

    Raises:
        RunBroken: A child died, fell silent or gave up; the test says so in its test.json.
    """

    def is_complete(test: LoadgenTest) -> bool:
        return folder.test(test.name).is_complete

    for group in groups:
        with ExitStack() as loaded:
            samples = folder.path / group.tests[0].samples
            fleet_folder = folder.group(group.fleet.name)
            fleet = watch.fleet(group.fleet, fleet_folder, samples)
            if not all(map(is_complete, group.tests)):
                before = EngineFactsBefore(fleet_folder) if any(map(is_complete, group.tests)) else None
                loaded.enter_context(fleet)
                assert fleet.preflight is not None
                folder.preflighted(group.fleet.name, fleet.preflight)
                if before is not None:
                    before.require(KINDS[group.fleet.replicas[0].engine], fleet.facts)
            for test in group.tests:
                files = folder.test(test.name)
                if not files.is_complete:
                    result = measure_test(fleet, folder, group, test, watch.view.say, measure)
                    if result.state == "abandoned":
                        return f"{test.name}: {result.reason}"
                if test is group.tests[-1]:  # what follows needs no engine, and must not fail with one
                    loaded.close()
                if not files.is_followed_up:
                    stage = f"{test.name}: {describe_follow_up(test)}"
                    watch.beside(lambda path=files.path: after_test(path), stage)  # type: ignore[misc]
                    files.followed_up()
    return ""


def measure_test(
    fleet: Fleet,
    folder: RunFolder,
    group: TestGroup,
    test: LoadgenTest,
    say: Callable[[str], None],
    measure: Measure = measure_once,
) -> TestResult:
    """Measure one test of a group, at the rate that its engines hold where the group says so.

    Args:
        fleet: The group's engines, loaded.
        folder: The run's folder, held; it has the test's samples.
        group: What the test is of.
        test: As it was planned.
        say: Tells people what rate was found.
        measure: Measures it.

    Raises:
        RunBroken: A child died, fell silent or gave up; the test says so in its test.json.
    """
    asked, path = test.with_samples(folder.path / test.samples), folder.test(test.name).path
    share = group.rate_shares.get(test.scenario)
    if share is None:
        return measure(fleet, asked, path)
    return HeldRate(fleet, folder, share, say).measure(asked, path, measure)


def describe_follow_up(test: LoadgenTest) -> str:
    """What is done after a test, for people."""
    if test.audit_conf is not None:
        return "verifying its answers"
    return "scoring its answers" if test.mode is Mode.ACCURACY else "writing its record"


def check_disk(folder: Path, tests: int, samples: int, answer_tokens: int) -> None:
    """Refuse to start where the results would not fit.

    Args:
        folder: Where they go.
        tests: How many tests run.
        samples: Samples in the largest table.
        answer_tokens: Sum of that table's output limits, tokens.

    Raises:
        HostError: Too little is free.
    """
    a_test = samples * _BYTES_A_SAMPLE + answer_tokens * _LOG_BYTES_A_TOKEN
    needed = tests * a_test + _BYTES_BESIDE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise HostError(
            f"{folder}: {free / 2**20:,.0f} MiB are free, the results may need {needed / 2**20:,.0f} MiB",
            "Free disk space, or choose a folder on another disk with --output.",
        )
