"""Checks that no log of a submitter is a copy of another: each result, scenario and test is run by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness_llm.check.case import Case, relative
from harness_llm.check.model import POLICIES, Check
from harness_llm.compliance import AUDIT_TESTS
from harness_llm.core import Scenario
from harness_llm.files import file_digest
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import ACCURACY_LOG, SUMMARY_LOG, file_problem

_LEAST_NS = 10_000_000  # a measured time of 8 digits or more
_SHARED = 3  # so many equal measured times of two logs are no chance
_SHOWN = 5
_EMPTY = 16  # bytes of an accuracy log without answers


@dataclass(frozen=True)
class _File:
    """A file that can be of one run only.

    Attributes:
        path: The file.
        run: Whose run it must be of. Two accuracy levels of one benchmark may share their runs.
    """

    path: Path
    run: tuple[object, ...]


def copy_checks(root: Path, folder: Path, cases: Iterable[Case]) -> Iterator[Check]:
    """Whether logs of different runs are different files, and of different measured times.

    Args:
        root: What is being checked.
        folder: The submitter's folder.
        cases: The submitter's results.
    """
    cases = tuple(cases)
    files = [file for case in cases for file in _files(case)]
    logs = [(file, detail) for case in cases for file, detail in _logs(case)]
    for name, copies, found, required in (
        ("distinct-files", _equal(files), f"{len(files)} files", "no log that is a copy of another run's"),
        ("distinct-runs", _same_times(logs), f"{len(logs)} logs", "a run of its own for each log"),
    ):
        shown = [" = ".join(relative(path, folder) for path in same) for same in copies]
        more = f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        yield Check(
            f"tree.{name}",
            not shown,
            "; ".join(shown[:_SHOWN]) + more or f"{found}, all different",
            required,
            f"{POLICIES} inference_rules.adoc lines 391-392",
            "Put the log of each system's, scenario's and test's own run there." if shown else "",
            relative(folder, root),
        )


def _run(case: Case, test: str) -> tuple[object, ...]:
    benchmark = case.rules.conf_name if case.rules else case.benchmark
    return case.folder.parent.parent, benchmark, case.scenario, test


def _files(case: Case) -> Iterator[_File]:
    for file, detail in _logs(case):
        yield file
        if "result_validity" in detail.values:  # else the summary is a few lines, the same everywhere
            yield _File(file.path.with_name(SUMMARY_LOG), file.run)
    if case.is_simulated:  # made-up answers may come in the same order
        return
    # Offline answers come in the order of the samples: two systems may well give the same.
    answers = [("accuracy", case.accuracy / ACCURACY_LOG)]
    for name, folder in case.tests.items():
        path = AUDIT_TESTS[name].find(folder, ACCURACY_LOG) if name in AUDIT_TESTS else None
        answers += [(name, path)] if path else []
    for test, path in answers:
        run = _run(case, test)
        if case.scenario is Scenario.OFFLINE:
            run = ("any system", *run[1:])
        yield _File(path, run)


def _logs(case: Case) -> Iterator[tuple[_File, DetailLog]]:
    """The detail logs of a result that can be read, read once."""
    yield _File(case.detail.path, _run(case, "performance")), case.detail
    yield _File(case.accuracy_detail.path, _run(case, "accuracy")), case.accuracy_detail
    for name, detail in case.test_details.items():
        yield _File(detail.path, _run(case, name)), detail


def _equal(files: Iterable[_File]) -> list[list[Path]]:
    places: dict[str, list[_File]] = {}
    for file in files:
        if file_problem(file.path) is None and file.path.stat().st_size > _EMPTY:
            places.setdefault(file_digest(file.path), []).append(file)
    return [[file.path for file in same] for same in places.values() if len({file.run for file in same}) > 1]


def _same_times(logs: Iterable[tuple[_File, DetailLog]]) -> list[list[Path]]:
    """Pairs of logs that have measured times in common, so that one was made of the other."""
    holders: dict[tuple[str, float], list[_File]] = {}
    for file, detail in logs:
        for time in _times(detail):
            holders.setdefault(time, []).append(file)
    shared: dict[tuple[Path, Path], int] = {}
    for same in holders.values():
        first = same[0]
        for other in same[1:]:
            if other.run != first.run:
                pair = (first.path, other.path)
                shared[pair] = shared.get(pair, 0) + 1
    return [list(pair) for pair, count in shared.items() if count >= _SHARED]


def _times(detail: DetailLog) -> set[tuple[str, float]]:
    """Measured times of many digits: latencies in ns, and when lines were logged."""
    found = {
        (key, float(value))
        for key, value in detail.values.items()
        if key.startswith("result_") and isinstance(value, int) and value >= _LEAST_NS
    }
    logged = {time for time in detail.times_ms.values() if time * 1e6 >= _LEAST_NS}
    return found | {("time_ms", time) for time in logged}
