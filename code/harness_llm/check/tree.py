"""Check a submission tree: its shape, and every result in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness_llm import rules
from harness_llm.check.case import Case, relative
from harness_llm.check.copies import Fingerprint, copy_checks, fingerprints
from harness_llm.check.decoding_checks import tree_decoding_checks
from harness_llm.check.judgement import INFERENCE, Check, Report, guarded
from harness_llm.check.paperwork import is_marked, measurement_checks, readme_checks
from harness_llm.check.scenario import scenario_checks
from harness_llm.check.submitter import Submitter, collect_cases, submitter_checks
from harness_llm.check.tree_files import file_checks, folders
from harness_llm.engines import KINDS
from harness_llm.results.paths import ACCURACY_TXT

_DIVISIONS = ("closed", "open", "network")


def check_tree(tree: Path, round_name: str = rules.LATEST_ROUND, division: str | None = None) -> Report:
    """Check a submission tree, whatever it holds; every fault is a failed check.

    Args:
        tree: The folder that holds `closed/`, `open/` or `network/`.
        round_name: Round whose rules and layout apply; a name that the table lacks is a failed check.
        division: Only this division; None checks all that are there.
    """
    if round_name not in rules.rounds():
        known = ", ".join(rules.rounds())
        wrong = Check("tree.round", False, round_name, f"one of {known}", remedy="Name a round.")
        return Report("tree", str(tree), round_name, "unofficial", False, (wrong,))
    divisions = [name for name in _DIVISIONS if division in (None, name) and (tree / name).is_dir()]
    checks = [
        *guarded("tree", "", lambda: _shape(tree, divisions, division)),
        *guarded("files", "", lambda: file_checks(tree)),
    ]
    officials: set[bool] = set()
    simulated = False
    prints: list[Fingerprint] = []
    for name in divisions:
        for folder in folders(tree / name):
            submitter = Submitter(tree, folder, name, round_name)
            cases = list(_submitter(submitter, checks, prints))
            officials |= {_is_official(case) for case in cases}
            simulated = simulated or any(case.is_simulated for case in cases)
    if prints:
        checks.extend(guarded("tree", "", lambda: copy_checks(prints)))
    label = "mixed" if len(officials) > 1 else "official" if officials == {True} else "unofficial"
    return Report("tree", str(tree), round_name, label, simulated, tuple(checks))


def _shape(tree: Path, divisions: list[str], wanted: str | None) -> Iterator[Check]:
    strange = [folder.name for folder in folders(tree) if folder.name not in _DIVISIONS]
    yield Check(
        "tree.divisions",
        bool(divisions) and not strange,
        f"{', '.join(divisions) or 'none'}; others: {', '.join(strange[:5]) or 'none'}",
        f"a folder {wanted or 'closed, open or network'}, and no other folders",
        f"{INFERENCE} tools/submission/submission_checker/constants.py line 1392",
        "" if divisions and not strange else "Give the folder that holds closed/ or open/.",
    )
    for name in divisions:
        if not folders(tree / name):
            yield Check(
                "tree.submitter", False, "none", "a submitter's folder", remedy="Package a run.", path=name
            )


def _submitter(submitter: Submitter, checks: list[Check], prints: list[Fingerprint]) -> Iterator[Case]:
    """Check one submitter; gives each result when it has been judged, and its logs to `prints`."""
    shown = relative(submitter.folder, submitter.root)
    checks.extend(guarded("tree", shown, lambda: submitter_checks(submitter)))
    cases = list(collect_cases(submitter, checks))
    keeping = {case.folder.parent for case in cases if "TEST06" in case.test_details}
    cases = [
        replace(
            case,
            is_simulated=_is_simulated(submitter, case),
            keeps_test_logs=case.folder.parent in keeping,
        )
        for case in cases
    ]
    for case in cases:
        place = relative(case.folder, submitter.root)
        checks.extend(replace(check, result=place) for check in _result(submitter, case))
        checks.extend(guarded("tree", place, partial(_note_prints, case, prints)))
        yield case


def _note_prints(case: Case, prints: list[Fingerprint]) -> tuple[Check, ...]:
    """Keep what is compared in the end; a file that cannot be read is a failed check of `guarded`."""
    prints.extend(fingerprints(case))
    return ()


def _result(submitter: Submitter, case: Case) -> Iterator[Check]:
    root, shown = submitter.root, relative(case.folder, submitter.root)
    readme = case.user_conf.with_name("README.md")
    yield from guarded("readme", shown, lambda: readme_checks(readme, root))
    yield from guarded(
        "measurements",
        shown,
        lambda: measurement_checks(
            _measurements(submitter, case), root, division=submitter.division, benchmark=case.benchmark
        ),
    )
    stated = partial(tree_decoding_checks, case, _measurements(submitter, case))
    yield from guarded("decoding", shown, stated)
    yield from _runs(submitter, case)
    if case.is_simulated:
        yield submitter.check(
            "tree.simulated",
            None if submitter.division == "open" else False,
            f"marked: {rules.SIMULATED}",
            "answers of a real engine",
            "Run it with a real engine; a simulated run is never a result.",
            case.folder,
        )
    for marker in (kind.marker for kind in KINDS.values()):
        if marker and is_marked(
            marker, case.user_conf.with_name("README.md"), _measurements(submitter, case)
        ):
            yield submitter.check(
                "tree.engine",
                None if submitter.division == "open" else False,
                f"marked: {marker}",
                "an engine that reuses no work between samples",
                "Package it for open, or run it with an engine whose caching is known to be off.",
                case.folder,
            )
    yield from scenario_checks(case)


def _runs(submitter: Submitter, case: Case) -> Iterator[Check]:
    runs = [entry.name for entry in folders(case.folder / "performance")]
    extra = [name for name in runs if name not in ("run_1", "power", "ranging")]
    yield submitter.check(
        "tree.runs",
        "run_1" in runs and not extra,
        ", ".join(runs) or "none",
        "run_1 alone (and power/, ranging/)",
        "One performance run counts: keep run_1.",
        case.folder / "performance",
    )


def _measurements(submitter: Submitter, case: Case) -> Path:
    documents = case.user_conf.parent
    if submitter.layout == "v6":
        return documents / "measurements.json"
    system = case.folder.parent.parent.name
    try:
        return next(iter(sorted(documents.glob(f"{system}*.json"))), documents / f"{system}.json")
    except (OSError, ValueError):
        return documents / f"{system}.json"


def _is_simulated(submitter: Submitter, case: Case) -> bool:
    system = case.folder.parent.parent.name
    return is_marked(
        rules.SIMULATED,
        case.user_conf,
        case.user_conf.with_name("README.md"),
        _measurements(submitter, case),
        case.accuracy / ACCURACY_TXT,
        submitter.folder / "systems" / f"{system}.json",
    )


def _is_official(case: Case) -> bool:
    """Whether a result is one of an MLPerf benchmark, and does not say that it answered other data."""
    return case.rules is not None and not is_marked(rules.UNOFFICIAL, case.user_conf.with_name("README.md"))
