"""Check a submission tree: its shape, and every result in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness_llm import rules
from harness_llm.check.case import Case, relative
from harness_llm.check.documents import (
    documentation_checks,
    is_marked_simulated,
    measurement_checks,
    read_object,
    readme_checks,
    source_checks,
    system_checks,
)
from harness_llm.check.files import file_checks
from harness_llm.check.model import INFERENCE, Check, Report, guarded
from harness_llm.check.scenario import scenario_checks
from harness_llm.core import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["check_tree"]

_DIVISIONS = ("closed", "open", "network")
_CHECKER = f"{INFERENCE} tools/submission/submission_checker"
_FOLDERS = {
    "v5": frozenset({"code", "systems", "documentation", "results", "measurements", "compliance"}),
    "v6": frozenset({"src", "systems", "documentation", "results"}),
}


@dataclass(frozen=True)
class _Submitter:
    """One submitter's folder in one division."""

    root: Path
    folder: Path
    division: str
    round: str

    @property
    def layout(self) -> str:
        return rules.round_rules(self.round).layout

    def check(
        self, name: str, passed: bool | None, found: str, required: str, remedy: str, path: Path
    ) -> Check:
        return Check(
            name,
            passed,
            found,
            required,
            f"{_CHECKER}/constants.py lines 2029-2193",
            "" if passed else remedy,
            relative(path, self.root),
        )


def check_tree(tree: Path, round_name: str = rules.LATEST_ROUND, division: str | None = None) -> Report:
    """Check a submission tree, whatever it holds; every fault is a failed check.

    Args:
        tree: The folder that holds `closed/`, `open/` or `network/`.
        round_name: Round whose rules and layout apply; a name that the table lacks is a failed check.
        division: Only this division; None checks all that are there.
    """
    checks: list[Check] = []
    found: list[tuple[str, bool]] = []
    if round_name not in rules.rounds():
        known = ", ".join(rules.rounds())
        checks.append(Check("tree.round", False, round_name, f"one of {known}", remedy="Name a round."))
        return Report("tree", str(tree), round_name, "unofficial", False, tuple(checks))
    divisions = [name for name in _DIVISIONS if division in (None, name) and (tree / name).is_dir()]
    checks.extend(guarded("tree", "", lambda: _shape(tree, divisions, division)))
    checks.extend(guarded("files", "", lambda: file_checks(tree)))
    simulated = False
    for name in divisions:
        for folder in _folders(tree / name):
            submitter = _Submitter(tree, folder, name, round_name)
            for case in _collect(submitter, checks):
                found.append((case.benchmark, case.rules is not None))
                checks.extend(_result(submitter, case))
                simulated = simulated or _is_simulated(submitter, case)
    officials = {official for _, official in found}
    label = "mixed" if len(officials) > 1 else "official" if officials == {True} else "unofficial"
    return Report("tree", str(tree), round_name, label, simulated, tuple(checks))


def _shape(tree: Path, divisions: list[str], wanted: str | None) -> Iterator[Check]:
    strange = [folder.name for folder in _folders(tree) if folder.name not in _DIVISIONS]
    yield Check(
        "tree.divisions",
        bool(divisions) and not strange,
        f"{', '.join(divisions) or 'none'}; others: {', '.join(strange[:5]) or 'none'}",
        f"a folder {wanted or 'closed, open or network'}, and no other folders",
        f"{_CHECKER}/constants.py line 1392",
        "" if divisions and not strange else "Give the folder that holds closed/ or open/.",
    )
    for name in divisions:
        if not _folders(tree / name):
            yield Check(
                "tree.submitter", False, "none", "a submitter's folder", remedy="Package a run.", path=name
            )


def _folders(folder: Path) -> list[Path]:
    """Folders inside a folder, links left out, in order; empty where it cannot be read."""
    try:
        return sorted(
            entry
            for entry in folder.iterdir()
            if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith(".")
        )
    except (OSError, ValueError):
        return []


def _collect(submitter: _Submitter, checks: list[Check]) -> Iterator[Case]:
    """The results of one submitter; what is wrong around them goes to `checks`."""
    folder, root = submitter.folder, submitter.root
    shown = relative(folder, root)
    checks.extend(guarded("tree", shown, lambda: _submitter_checks(submitter)))
    systems = _folders(folder / "results")
    if not systems:
        results = folder / "results"
        checks.append(submitter.check("tree.results", False, "none", "results", "Package a run.", results))
    for system in systems:
        described = folder / "systems" / f"{system.name}.json"
        checks.extend(
            guarded(
                "system",
                relative(described, root),
                lambda path=described: system_checks(  # type: ignore[misc]
                    path, root, submitter=folder.name, division=submitter.division
                ),
            )
        )
        if not _folders(system):
            checks.append(
                submitter.check(
                    "tree.benchmark", False, "none", "a benchmark's folder", "Package a run.", system
                )
            )
        for benchmark in _folders(system):
            yield from _collect_benchmark(submitter, benchmark, checks)


def _submitter_checks(submitter: _Submitter) -> Iterator[Check]:
    folder, layout = submitter.folder, submitter.layout
    wrong = [entry.name for entry in _folders(folder) if entry.name not in _FOLDERS[layout]]
    yield submitter.check(
        "tree.layout",
        not wrong,
        ", ".join(wrong) or "the round's folders",
        ", ".join(sorted(_FOLDERS[layout])),
        f"Package for {submitter.round}: rounds before v6.0 have other folders than later ones.",
        folder,
    )
    yield from source_checks(folder / ("src" if layout == "v6" else "code"), submitter.root)
    yield from documentation_checks(
        folder / "documentation", submitter.root, is_required=submitter.division != "open"
    )
    mapping = folder / "model_mapping.json"
    if mapping.exists() or mapping.is_symlink():
        found, problem = read_object(mapping)
        good = found is not None and submitter.division == "open"
        yield submitter.check(
            "tree.model-mapping",
            good,
            problem or f"in {submitter.division}",
            "a JSON object, in open only",
            "Remove it, or correct it.",
            mapping,
        )


def _collect_benchmark(submitter: _Submitter, folder: Path, checks: list[Check]) -> Iterator[Case]:
    known = rules.lookup(folder.name, submitter.round)
    scenarios = {entry.name: entry for entry in _folders(folder)}
    checks.append(_benchmark_check(submitter, folder, known))
    checks.extend(_scenario_set(submitter, folder, known, frozenset(scenarios)))
    for name, place in scenarios.items():
        if name in set(Scenario):
            yield _case(submitter, folder, known, Scenario(name), place)


def _benchmark_check(submitter: _Submitter, folder: Path, known: rules.BenchmarkRules | None) -> Check:
    name, round_name = folder.name, submitter.round
    elsewhere = rules.rounds_of(name)
    hint = f"It is official in {', '.join(elsewhere)}." if elsewhere else ""
    near = rules.nearest(name)
    hint = hint or (f"Did you mean {near}?" if near else "Unofficial benchmarks go under open/.")
    return submitter.check(
        "tree.benchmark",
        True if known else (None if submitter.division == "open" else False),
        name if known else f"{name}: unofficial, no LLM benchmark of {round_name}",
        f"a benchmark of {round_name}",
        hint,
        folder,
    )


def _scenario_set(
    submitter: _Submitter, folder: Path, known: rules.BenchmarkRules | None, names: frozenset[str]
) -> Iterator[Check]:
    unknown = sorted(names - set(Scenario))
    closed = submitter.division != "open"
    missing: list[str] = []
    if known and closed:
        unknown = sorted(names - {str(scenario) for scenario in known.row.allowed})
        missing = [str(scenario) for scenario in known.row.required if scenario not in names]
        if known.row.one_of and not names & set(known.row.one_of):
            missing.append("one of " + " and ".join(known.row.one_of))
    yield Check(
        "tree.scenarios",
        not unknown and not missing and bool(names),
        f"{', '.join(sorted(names)) or 'none'}; missing: {', '.join(missing) or 'none'}; "
        f"unknown: {', '.join(unknown) or 'none'}",
        "the scenarios that the round asks for" if known and closed else "Offline, Server or Interactive",
        rules.expand_source(known.row.source) if known else "",
        "" if not unknown and not missing and names else "Run and package what is missing; remove the rest.",
        relative(folder, submitter.root),
    )


def _case(
    submitter: _Submitter,
    benchmark: Path,
    known: rules.BenchmarkRules | None,
    scenario: Scenario,
    place: Path,
) -> Case:
    below = (benchmark.parent.name, benchmark.name, scenario)
    is_v6 = submitter.layout == "v6"
    documents = place if is_v6 else submitter.folder.joinpath("measurements", *below)
    compliance = place if is_v6 else submitter.folder.joinpath("compliance", *below)
    return Case(
        root=submitter.root,
        benchmark=benchmark.name,
        scenario=scenario,
        round=submitter.round,
        division=submitter.division,
        rules=known,
        layout="tree",
        folder=place,
        performance=place / "performance" / "run_1",
        accuracy=place / "accuracy",
        user_conf=documents / "user.conf",
        tests={entry.name: entry for entry in _folders(compliance) if entry.name.startswith("TEST")},
    )


def _result(submitter: _Submitter, case: Case) -> Iterator[Check]:
    root, shown = submitter.root, relative(case.folder, submitter.root)
    documents = case.user_conf.parent
    yield from guarded("readme", shown, lambda: readme_checks(documents / "README.md", root))
    yield from guarded(
        "measurements", shown, lambda: measurement_checks(_measurements(submitter, case), root)
    )
    runs = [entry.name for entry in _folders(case.folder / "performance")]
    extra = [name for name in runs if name not in ("run_1", "power", "ranging")]
    yield submitter.check(
        "tree.runs",
        "run_1" in runs and not extra,
        ", ".join(runs) or "none",
        "run_1 alone (and power/, ranging/)",
        "One performance run counts: keep run_1.",
        case.folder / "performance",
    )
    if _is_simulated(submitter, case):
        closed = submitter.division != "open"
        yield submitter.check(
            "tree.simulated",
            False if closed else None,
            "marked: simulated, not a result",
            "answers of a real engine",
            "Run it with a real engine; a simulated run is never a result.",
            case.folder,
        )
    yield from scenario_checks(case)


def _measurements(submitter: _Submitter, case: Case) -> Path:
    documents = case.user_conf.parent
    if submitter.layout == "v6":
        return documents / "measurements.json"
    system = case.folder.parent.parent.name
    try:
        return next(iter(sorted(documents.glob(f"{system}*.json"))), documents / f"{system}.json")
    except (OSError, ValueError):
        return documents / f"{system}.json"


def _is_simulated(submitter: _Submitter, case: Case) -> bool:
    system = case.folder.parent.parent.name
    return is_marked_simulated(
        case.user_conf.parent / "README.md",
        _measurements(submitter, case),
        case.accuracy / "accuracy.txt",
        submitter.folder / "systems" / f"{system}.json",
    )
