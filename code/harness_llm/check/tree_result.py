"""One result of a submission tree: what it states, its runs, and every check of its scenario."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness_llm import rules
from harness_llm.check.case import Case, relative
from harness_llm.check.copies import Fingerprint, fingerprints
from harness_llm.check.decoding_checks import tree_decoding_checks
from harness_llm.check.judgement import Check, guarded
from harness_llm.check.paperwork import is_marked, measurement_checks, readme_checks
from harness_llm.check.scenario import scenario_checks
from harness_llm.check.submitter import Submitter
from harness_llm.check.tree_files import folders
from harness_llm.engines import KINDS
from harness_llm.results.paths import ACCURACY_TXT


@dataclass(frozen=True)
class Judged:
    """What came of one result.

    Attributes:
        checks: Its checks, in order.
        prints: What is compared with every other result's.
        is_official: Whether it is one of an MLPerf benchmark, on that benchmark's data.
        is_simulated: Whether its answers were made up.
    """

    checks: tuple[Check, ...]
    prints: tuple[Fingerprint, ...] = ()
    is_official: bool = False
    is_simulated: bool = False


def judge_result(submitter: Submitter, case: Case) -> Judged:
    """Check one result, whatever its files hold.

    Args:
        submitter: Whose result it is.
        case: Where its files are; what they hold is dropped afterwards, a tree has hundreds of results.
    """
    case = replace(case, is_simulated=_is_simulated(submitter, case))  # a copy that has read nothing yet
    place = relative(case.folder, submitter.root)
    checks = [replace(check, result=place) for check in _result(submitter, case)]
    prints: list[Fingerprint] = []
    checks.extend(guarded("tree", place, partial(_note_prints, case, prints)))
    return Judged(tuple(checks), tuple(prints), _is_official(case), case.is_simulated)


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
                "an engine that is known, on the model's own weights",
                "Package it for open, or run it with a known engine and the model's weights.",
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

    if "power" in runs:
        yield submitter.check(
            "tree.power",
            None,
            "power measurements, which are not judged here",
            "logs of a power analyzer, which the official checker judges",
            "",
            case.folder / "performance" / "power",
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
