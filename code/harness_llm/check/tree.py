"""Check a submission tree: its shape, and every result in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness_llm import rules
from harness_llm.check.case import Case, relative
from harness_llm.check.copies import copy_checks
from harness_llm.check.judgement import INFERENCE, Check, Report, guarded
from harness_llm.check.side_by_side import side_by_side
from harness_llm.check.submitter import Submitter, collect_cases, submitter_checks
from harness_llm.check.tree_files import file_checks, folders
from harness_llm.check.tree_result import Judged, judge_result

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
    checks = list(guarded("tree", "", lambda: _shape(tree, divisions, division)))
    found: list[tuple[Submitter, Case]] = []
    for name in divisions:
        for folder in folders(tree / name):
            submitter = Submitter(tree, folder, name, round_name)
            shown = relative(folder, tree)
            checks.extend(guarded("tree", shown, partial(submitter_checks, submitter)))
            found.extend((submitter, case) for case in _cases(submitter, checks))
    pieces: list[Callable[[], Judged]] = [partial(_files, tree)]
    pieces += [partial(judge_result, *one) for one in found]
    files, *results = side_by_side(pieces)
    checks.extend(files.checks)
    checks.extend(check for one in results for check in one.checks)
    if prints := [each for one in results for each in one.prints]:
        checks.extend(guarded("tree", "", lambda: copy_checks(prints)))
    officials = {one.is_official for one in results}
    label = "mixed" if len(officials) > 1 else "official" if officials == {True} else "unofficial"
    simulated = any(one.is_simulated for one in results)
    return Report("tree", str(tree), round_name, label, simulated, tuple(checks))


def _files(tree: Path) -> Judged:
    return Judged(tuple(guarded("files", "", lambda: file_checks(tree))))


def _cases(submitter: Submitter, checks: list[Check]) -> Iterator[Case]:
    """The results of one submitter; what is wrong around them goes to `checks`."""
    cases = list(collect_cases(submitter, checks))
    keeping = {case.folder.parent for case in cases if case.test_logs.get("TEST06")}
    for case in cases:
        # A copy has read nothing yet: what is judged may well be judged in another process.
        yield replace(case, keeps_test_logs=case.folder.parent in keeping)


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
