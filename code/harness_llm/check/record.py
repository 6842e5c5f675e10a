"""Checks of run.json and the samples beside it: did the run end well, and over which data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness_llm import rules
from harness_llm.check.judgement import Check, judged
from harness_llm.check.limits import asked_limits
from harness_llm.core import Scenario
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import BROKEN_INPUT, DatasetError
from harness_llm.logs.source import file_problem
from harness_llm.results.paths import RUN_JSON, SHARED_SAMPLES
from harness_llm.results.records import DatasetRecord, RunRecord, SourceRecord
from harness_llm.results.run_folder import state_of

_SHOWN_CHANGES = 5


def record_checks(
    run_dir: Path, record: RunRecord, known: rules.BenchmarkRules | None, round_name: str
) -> Iterator[Check]:
    """run.json: the run is complete, each test has its folder, the benchmark and the source are named."""
    state, reason = state_of(run_dir, record)
    yield _check(
        "run.state",
        state == "complete",
        f"{state}{f': {reason}' if reason else ''}",
        "complete",
        "Run it again in the same folder; finished tests are kept.",
    )
    tests = record.tests
    absent = [test for test in tests if not (run_dir / test).is_dir()]
    strange = [scenario for scenario in record.by_scenario() if scenario not in set(Scenario)]
    yield _check(
        "run.tests",
        bool(tests) and not absent and not strange,
        f"{len(tests)} tests; without folder: {', '.join(absent) or 'none'}; "
        f"strange: {', '.join(strange) or 'none'}",
        "a folder for each test that was run",
        "Run it again.",
    )
    yield _official_check(record, known, round_name)
    yield _source_check(record.git)


def _check(name: str, passed: bool | None, found: str, required: str, remedy: str) -> Check:
    return Check(name, passed, found, required, "", remedy if passed is False else "", RUN_JSON)


def _official_check(record: RunRecord, known: rules.BenchmarkRules | None, round_name: str) -> Check:
    benchmark, official = record.benchmark, record.official
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


def _source_check(git: SourceRecord) -> Check:
    """The commit that ran; a dirty work tree is named, not refused: the README of the result says so."""
    more = f" and {len(git.changed) - _SHOWN_CHANGES} more" if len(git.changed) > _SHOWN_CHANGES else ""
    state = {True: "changed after it", False: "clean", None: "not known"}[git.dirty]
    listed = f": {', '.join(git.changed[:_SHOWN_CHANGES])}{more}" if git.changed else ""
    return _check(
        "run.source",
        True if git.dirty is False and git.commit else None,
        f"commit {git.commit or 'not known'}, work tree {state}{listed}",
        "a commit and a clean work tree",
        "",
    )


def dataset_checks(run_dir: Path, record: RunRecord, known: rules.BenchmarkRules | None) -> Iterator[Check]:
    """The samples: those that run.json names and, for an official benchmark, possibly the official ones."""
    path, described = run_dir / SHARED_SAMPLES, record.dataset
    problem, found = file_problem(path), (0, "")
    if problem is None:
        try:
            table = SampleTable.load(path)
            found = (len(table), table.digest)
        except (DatasetError, *BROKEN_INPUT) as error:
            problem = str(error) or type(error).__name__
    wanted = (described.samples, described.digest)
    fits = problem is None and found == wanted
    yield Check(
        "dataset.digest",
        fits,
        problem or f"{found[0]} samples, digest {found[1]}",
        f"{wanted[0]} samples, digest {wanted[1]}, as {RUN_JSON} has it",
        remedy=_samples_remedy(found, wanted, is_there=path.exists()),
        path=SHARED_SAMPLES,
    )
    if known is not None:
        yield _official_data_check(described, known, is_simulated=record.simulated)
        yield from _output_limit_checks(run_dir, record, known)


def _samples_remedy(found: tuple[int, str], wanted: tuple[int, str], *, is_there: bool) -> str:
    if found == wanted:
        return ""
    if not is_there:
        return f"Put {SHARED_SAMPLES} back: the run wrote it, and it was removed or not copied with the rest."
    return "Run it again: these are not the samples that ran."


def _output_limit_checks(run_dir: Path, record: RunRecord, known: rules.BenchmarkRules) -> Iterator[Check]:
    """Output limits of the samples that each test asked; those of a simulated run are its shape's."""
    for file, finding in asked_limits(run_dir, record, known):
        yield judged(finding, file, is_note=record.simulated)


def _official_data_check(
    described: DatasetRecord, known: rules.BenchmarkRules, *, is_simulated: bool
) -> Check:
    finding = rules.data_set(known, described.name, described.samples)
    return judged(finding, RUN_JSON, is_note=is_simulated)
