"""Checks of run.json and the samples beside it: did the run end well, and over which data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_llm import rules
from harness_llm.check.model import Check
from harness_llm.core import Scenario
from harness_llm.datasets.limits import asked_limits
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import BROKEN_INPUT, DatasetError
from harness_llm.logs.source import file_problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["dataset_checks", "record_checks", "recorded_tests"]

_SHOWN_CHANGES = 5


def recorded_tests(record: dict[str, Any]) -> list[str]:
    """The tests that run.json names, such as `Offline/performance`; empty where it names none."""
    tests = record.get("tests")
    return [test for test in tests if isinstance(test, str)] if isinstance(tests, list) else []


def record_checks(
    run_dir: Path, record: dict[str, Any], known: rules.BenchmarkRules | None, round_name: str
) -> Iterator[Check]:
    """run.json: the run is complete, each test has its folder, the benchmark and the source are named."""
    state, reason = record.get("state"), record.get("reason")
    yield _check(
        "run.state",
        state == "complete",
        f"{state}{f': {reason}' if reason else ''}",
        "complete",
        "Run it again in the same folder; finished tests are kept.",
    )
    tests = recorded_tests(record)
    absent = [test for test in tests if not (run_dir / test).is_dir()]
    strange = [test for test in tests if test.partition("/")[0] not in set(Scenario)]
    yield _check(
        "run.tests",
        bool(tests) and not absent and not strange,
        f"{len(tests)} tests; without folder: {', '.join(absent) or 'none'}; "
        f"strange: {', '.join(strange) or 'none'}",
        "a folder for each test that was run",
        "Run it again.",
    )
    yield _official_check(record, known, round_name)
    yield _source_check(record)


def _check(name: str, passed: bool | None, found: str, required: str, remedy: str) -> Check:
    return Check(name, passed, found, required, "", remedy if passed is False else "", "run.json")


def _official_check(record: dict[str, Any], known: rules.BenchmarkRules | None, round_name: str) -> Check:
    benchmark, official = str(record.get("benchmark")), record.get("official")
    elsewhere = rules.rounds_of(benchmark)
    remedy = "Name the benchmark as the rules do, or run again."
    if known is None and elsewhere:
        remedy = f"{round_name} does not have it; give --round, one of {', '.join(elsewhere)}."
    return _check(
        "run.official",
        official is (known is not None),
        f"official {official}",
        f"official {known is not None} for {benchmark} in {round_name}",
        remedy,
    )


def _source_check(record: dict[str, Any]) -> Check:
    """The commit that ran; a dirty work tree is named, not refused: the README of the result says so."""
    git = record.get("git")
    git = git if isinstance(git, dict) else {}
    commit, dirty, changed = git.get("commit"), git.get("dirty"), git.get("changed")
    names = [str(name) for name in changed] if isinstance(changed, list) else []
    more = f" and {len(names) - _SHOWN_CHANGES} more" if len(names) > _SHOWN_CHANGES else ""
    state = "changed after it" if dirty is True else "clean" if dirty is False else "not known"
    listed = f": {', '.join(names[:_SHOWN_CHANGES])}{more}" if names else ""
    return _check(
        "run.source",
        True if dirty is False and commit else None,
        f"commit {commit or 'not known'}, work tree {state}{listed}",
        "a commit and a clean work tree",
        "",
    )


def dataset_checks(
    run_dir: Path, record: dict[str, Any], known: rules.BenchmarkRules | None
) -> Iterator[Check]:
    """The samples: those that run.json names and, for an official benchmark, possibly the official ones."""
    path = run_dir / "samples.npz"
    described = record.get("dataset")
    described = described if isinstance(described, dict) else {}
    problem, found = file_problem(path), (0, "")
    if problem is None:
        try:
            table = SampleTable.load(path)
            found = (len(table), table.digest)
        except (DatasetError, *BROKEN_INPUT) as error:
            problem = str(error) or type(error).__name__
    wanted = (described.get("samples"), described.get("digest"))
    fits = problem is None and found == wanted
    yield Check(
        "dataset.digest",
        fits,
        problem or f"{found[0]} samples, digest {found[1]}",
        f"{wanted[0]} samples, digest {wanted[1]}, as run.json has it",
        remedy="" if fits else "Run it again: these are not the samples that ran.",
        path="samples.npz",
    )
    if known is not None:
        yield _official_data_check(described, known, is_simulated=record.get("simulated") is not False)
        yield from _output_limit_checks(run_dir, record, known)


def _output_limit_checks(
    run_dir: Path, record: dict[str, Any], known: rules.BenchmarkRules
) -> Iterator[Check]:
    """Output limits of the samples that each test asked; those of a simulated run are its shape's."""
    can_fail = record.get("simulated") is False
    for asked in asked_limits(run_dir, record, known):
        yield Check(
            f"dataset.output-limits-{asked.test}",
            asked.fits or (False if can_fail else None),
            asked.found,
            asked.required,
            rules.expand_source(known.generation.source),
            "" if asked.fits or not can_fail else "Set max_tokens and min_tokens to these and run it again.",
            asked.file,
        )


def _official_data_check(
    described: dict[str, Any], known: rules.BenchmarkRules, *, is_simulated: bool
) -> Check:
    name, count = str(described.get("name")), described.get("samples")
    sizes = dict.fromkeys((known.samples.accuracy, known.samples.performance))
    can_be = known.can_be_data_set(name, count)
    return Check(
        "dataset.official",
        True if can_be else (None if is_simulated else False),
        f"{name}, {count} samples",
        f"the data set of {known.name}: {' or '.join(map(str, sizes))} samples, none made up",
        rules.expand_source(known.samples.source),
        "" if can_be or is_simulated else "Run over the official data set, or package for open.",
        "run.json",
    )
