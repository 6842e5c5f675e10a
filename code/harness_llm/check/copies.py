"""Checks that no log in a tree is a copy of another: each result, scenario and test is run by itself."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from harness_llm.check.case import Case, relative
from harness_llm.check.judgement import POLICIES, Check
from harness_llm.core import Scenario
from harness_llm.files import file_digest
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import ACCURACY_LOG, SUMMARY_LOG, file_problem, read_text
from harness_llm.results.accuracy_txt import HASH_LINE
from harness_llm.results.paths import ACCURACY_TXT

_LEAST_NS = 10_000_000  # a measured time of 8 digits or more
_SHARED = 3  # two logs that share this many measured times do not share them by chance
_NEAR, _NEAR_SHARED = 7, 6  # nor, of one kind each, so many times to so many digits
_ORDERED = 50  # this many answers never end in the same order twice
_RULE = f"{POLICIES} inference_rules.adoc lines 391-392"


@dataclass(frozen=True)
class Fingerprint:
    """What tells one run's file from every other's.

    Attributes:
        path: The file, relative to the tree.
        division: The division that it is filed in.
        run: Whose run it must be of: two accuracy levels of one benchmark may share theirs.
        digest: Of the bytes; empty where equal bytes say nothing.
        times: Measured times of many digits: latencies in ns, and when lines were logged.
        near: The same latencies to a few digits, and what each is.
        is_certain: Whether no other run can have the same bytes.
        names_whole: Of cut answers: the hash of the whole log that accuracy.txt names, and their own digest.
    """

    path: str
    division: str
    run: tuple[str, ...]
    digest: str
    times: frozenset[float] = frozenset()
    near: frozenset[str] = frozenset()
    is_certain: bool = True
    names_whole: str = ""


def fingerprints(case: Case) -> Iterator[Fingerprint]:
    """Those of a result's logs, summaries and answers, as far as they can be read."""
    logs = {"performance": case.detail, "accuracy": case.accuracy_detail, **case.test_details}
    for test, detail in logs.items():
        if detail.values:
            print_of_log = _fingerprint(case, test, detail.path)
            yield replace(print_of_log, times=_times(detail), near=_near(detail))
        if "result_validity" in detail.values:  # else the summary is a few lines, the same everywhere
            yield _fingerprint(case, test, detail.path.with_name(SUMMARY_LOG))
    hashes = HASH_LINE.findall(read_text(case.accuracy / ACCURACY_TXT)[0])
    if case.accuracy_log.entries and hashes:
        cut = _fingerprint(case, "accuracy", case.accuracy_log.path)
        yield replace(cut, digest="", names_whole=f"{hashes[-1]} {cut.digest}")
    if case.is_simulated:  # made-up answers may come in the same order
        return
    for test, log in {"accuracy": case.accuracy_log, **case.test_answers}.items():
        if log.entries:
            certain = not log.is_truncated and log.entries >= _ORDERED
            yield _fingerprint(case, test, log.path, is_certain=certain)


def _fingerprint(
    case: Case,
    test: str,
    path: Path,
    *,
    is_certain: bool = True,
) -> Fingerprint:
    benchmark = case.rules.conf_name if case.rules else re.sub(r"-99(\.9)?$", "", case.benchmark)
    system = case.folder.parent.parent
    digest = file_digest(path) if file_problem(path) is None else ""
    # Offline answers come in the order of the samples: two systems may well give the same.
    is_ordered = path.name == ACCURACY_LOG and case.scenario is Scenario.OFFLINE
    run = (system.parent.parent.name, "" if is_ordered else system.name, benchmark, case.scenario, test)
    return Fingerprint(relative(path, case.root), str(case.division), run, digest, is_certain=is_certain)


def _times(detail: DetailLog) -> frozenset[float]:
    found = {float(value) for _, value in _measured(detail)}
    return frozenset(found | {time for time in detail.times_ms.values() if time * 1e6 >= _LEAST_NS})


def _near(detail: DetailLog) -> frozenset[str]:
    return frozenset(f"{key} {value:.{_NEAR}g}" for key, value in _measured(detail))


def _measured(detail: DetailLog) -> Iterator[tuple[str, int]]:
    for key, value in detail.values.items():
        if key.startswith("result_") and type(value) is int and _LEAST_NS <= value < 2**63:
            yield key, value


def copy_checks(prints: Iterable[Fingerprint]) -> Iterator[Check]:
    """Whether the files of different runs differ, and were measured at different times.

    Args:
        prints: Of everything in a tree.
    """
    known = tuple(prints)
    equal = _equal(known)
    # Another test draws other samples: even of cut logs no two are equal.
    certain = [
        same
        for same in equal
        if all(one.is_certain for one in same) or len({one.run[-1] for one in same}) > 1
    ]
    filed = [same for same in certain if len({one.run for one in same}) == 1]
    copied = [same for same in certain if same not in filed]
    for name, copies, word, required in (
        ("distinct-files", copied, False, "a run of its own for each log"),
        ("distinct-runs", _same_times(known), False, "measured times of its own for each run"),
        ("distinct-hashes", _same_hash(known), False, "for each log of answers its own hash"),
        (
            "distinct-answers",
            [same for same in equal if same not in certain],
            None,
            "answers in an order of their own",
        ),
        ("distinct-divisions", filed, None, "a result in one division"),
    ):
        shown = [" = ".join(one.path for one in same) for same in copies]
        yield Check(
            f"tree.{name}",
            True if not shown else word,
            "; ".join(shown) or f"{len(known)} files, all different",
            required,
            _RULE,
            "Put the log of each system's, scenario's and test's own run there."
            if shown and word is False
            else "",
        )


def _equal(prints: Iterable[Fingerprint]) -> list[list[Fingerprint]]:
    """Files of equal bytes that belong to different runs or divisions."""
    same: dict[str, list[Fingerprint]] = defaultdict(list)
    for one in prints:
        if one.digest:
            same[one.digest].append(one)
    return [found for found in same.values() if len({(one.run, one.division) for one in found}) > 1]


def _same_hash(prints: Iterable[Fingerprint]) -> list[list[Fingerprint]]:
    """Different cut logs whose whole logs would have one hash: accuracy.txt was copied."""
    named: dict[str, dict[str, Fingerprint]] = defaultdict(dict)
    for one in prints:
        if one.names_whole:
            whole, _, cut = one.names_whole.partition(" ")
            named[whole].setdefault(cut, one)
    return [list(same.values()) for same in named.values() if len(same) > 1]


def _same_times(prints: Iterable[Fingerprint]) -> list[tuple[Fingerprint, Fingerprint]]:
    """Logs of different runs that have measured times in common: one was made of the other."""
    known = tuple(prints)
    exact = _sharing(((one, one.times) for one in known), _SHARED)
    near = _sharing(((one, one.near) for one in known), _NEAR_SHARED)
    return list({(one.path, other.path): (one, other) for one, other in (*exact, *near)}.values())


def _sharing(
    marks: Iterable[tuple[Fingerprint, Iterable[Hashable]]], least: int
) -> list[tuple[Fingerprint, Fingerprint]]:
    """Pairs of different runs that have so many marks in common."""
    holders: dict[Hashable, dict[tuple[str, ...], Fingerprint]] = defaultdict(dict)
    for one, own in marks:
        for mark in own:
            holders[mark].setdefault(one.run, one)
    shared = Counter(
        pair for same in holders.values() if len(same) > 1 for pair in combinations(same.values(), 2)
    )
    return [pair for pair, count in shared.items() if count >= least]
