"""Checks of one submitter's folder in a tree: its shape, its documents, and which results it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness_llm import rules
from harness_llm.check.case import Case, relative
from harness_llm.check.judgement import INFERENCE, Check, guarded
from harness_llm.check.paperwork import documentation_checks, source_checks, system_checks
from harness_llm.check.tree_files import folders
from harness_llm.compliance import is_audit_name
from harness_llm.core import Scenario
from harness_llm.logs.source import read_object

_SUBMISSION_RULES = "mlcommons/policies @c195f80f submission_rules.adoc"
_CHECKER = f"{INFERENCE} tools/submission/submission_checker"
_FOLDERS = {
    "v5": frozenset({"code", "systems", "documentation", "results", "measurements", "compliance"}),
    "v6": frozenset({"src", "systems", "documentation", "results"}),
}
_EDGE_SCENARIOS = frozenset({"singlestream", "multistream"})


@dataclass(frozen=True)
class Submitter:
    """One submitter's folder in one division.

    Attributes:
        root: The tree.
        folder: The submitter's folder.
        division: `closed`, `open` or `network`.
        round: Round whose rules and layout apply.
    """

    root: Path
    folder: Path
    division: str
    round: str

    @property
    def layout(self) -> str:
        """Which of the two tree layouts the round uses."""
        return rules.round_rules(self.round).layout

    def check(
        self, name: str, passed: bool | None, found: str, required: str, remedy: str, path: Path
    ) -> Check:
        """A check of the tree's shape; the remedy is dropped where there is nothing to remedy."""
        source = f"{_CHECKER}/constants.py lines 2029-2193"
        shown = relative(path, self.root)
        return Check(name, passed, found, required, source, "" if passed is not False else remedy, shown)


def submitter_checks(submitter: Submitter) -> Iterator[Check]:
    """The folders of a submitter, and what stands in them once: source, documentation, systems."""
    folder, layout = submitter.folder, submitter.layout
    wrong = [entry.name for entry in folders(folder) if entry.name not in _FOLDERS[layout]]
    other = sorted(set(wrong) & frozenset().union(*_FOLDERS.values()))
    is_other_round = bool(other) and any(name not in ("code", "src") for name in other)
    own_source = folder / ("src" if layout == "v6" else "code")
    yield submitter.check(
        "tree.layout",
        not other or (False if is_other_round or not own_source.is_dir() else None),
        ", ".join(other) or "the round's folders",
        ", ".join(sorted(_FOLDERS[layout])),
        f"Package for {submitter.round}: rounds before v6.0 have other folders than later ones.",
        folder,
    )
    further = [name for name in wrong if name not in other]
    yield Check(
        "tree.further-folders",
        None if further else True,
        ", ".join(further) or "none",
        "content should not reside outside of the round's folders",
        _SUBMISSION_RULES,
        path=relative(folder, submitter.root),
    )
    yield from source_checks(folder / ("src" if layout == "v6" else "code"), submitter.root)
    yield from documentation_checks(folder, submitter.root, is_required=submitter.division != "open")
    yield from _mapping_check(submitter)
    results = folder / "results"
    if not folders(results):
        yield submitter.check("tree.results", False, "none", "results", "Package a run.", results)


def _mapping_check(submitter: Submitter) -> Iterator[Check]:
    mapping = submitter.folder / "model_mapping.json"
    if mapping.exists() or mapping.is_symlink():
        found, problem = read_object(mapping)
        yield submitter.check(
            "tree.model-mapping",
            found is not None and submitter.division == "open",
            problem or f"in {submitter.division}",
            "a JSON object, in open only",
            "Remove it, or correct it.",
            mapping,
        )


def collect_cases(submitter: Submitter, checks: list[Check]) -> Iterator[Case]:
    """The results of one submitter that can be judged; what is wrong around them goes to `checks`."""
    for system in folders(submitter.folder / "results"):
        checks.extend(_system_checks(submitter, system))
        for benchmark in folders(system):
            yield from _benchmark_cases(submitter, benchmark, checks)


def _system_checks(submitter: Submitter, system: Path) -> Iterator[Check]:
    described = submitter.folder / "systems" / f"{system.name}.json"
    yield from guarded(
        "system",
        relative(described, submitter.root),
        lambda: system_checks(
            described, submitter.root, submitter=submitter.folder.name, division=submitter.division
        ),
    )
    if not folders(system):
        yield submitter.check(
            "tree.benchmark", False, "none", "a benchmark's folder", "Package a run.", system
        )


def _benchmark_cases(submitter: Submitter, folder: Path, checks: list[Check]) -> Iterator[Case]:
    known = rules.lookup(_meant(folder.name), submitter.round)
    checks.append(_benchmark_check(submitter, folder, known))
    if known is None and rules.is_other_official(_mapped(submitter, folder.name), submitter.round):
        return  # its metric, scenarios and accuracy are other ones; the official checker judges them
    scenarios = {entry.name: entry for entry in folders(folder)}
    checks.append(_scenario_check(submitter, folder, known, frozenset(scenarios)))
    for name, place in scenarios.items():
        scenario = _scenario(name)
        if scenario is None:
            continue
        case = _case(submitter, folder, known, scenario, place)
        if known or name == scenario or case.detail.value("requested_use_token_latencies") is True:
            yield case  # else another kind of benchmark, which has such folders in open


def _scenario(name: str) -> Scenario | None:
    """The scenario of a folder's name, in any case; None where it is no scenario of this project."""
    return next((scenario for scenario in Scenario if scenario.lower() == name.lower()), None)


def _benchmark_check(submitter: Submitter, folder: Path, known: rules.BenchmarkRules | None) -> Check:
    name, round_name = folder.name, submitter.round
    wanted = f"an LLM benchmark of {round_name}"
    if known:
        is_alias = name != known.name
        found = f"{name}: judged as {known.name}, the name of the rules" if is_alias else name
        return submitter.check("tree.benchmark", None if is_alias else True, found, wanted, "", folder)
    if rules.is_other_official(_mapped(submitter, name), round_name):
        found = f"{name}: official in {round_name}, not judged here: check it with the official checker"
        return submitter.check("tree.benchmark", None, found, wanted, "", folder)
    return submitter.check(
        "tree.benchmark",
        None if submitter.division == "open" else False,
        f"{name}: unofficial in {round_name}",
        wanted,
        _benchmark_remedy(name),
        folder,
    )


def _meant(name: str) -> str:
    """The benchmark that a folder's name means to the official checker."""
    return rules.table().folder_names.names.get(name, name)


def _mapped(submitter: Submitter, name: str) -> str:
    """The same, after model_mapping.json for an own name of open."""
    found, _ = read_object(submitter.folder / "model_mapping.json")
    return _meant(str((found or {}).get(name, name)) if submitter.division == "open" else name)


def _benchmark_remedy(name: str) -> str:
    elsewhere = [
        round_name
        for round_name in rules.rounds()
        if rules.lookup(name, round_name) or rules.is_other_official(name, round_name)
    ]
    if elsewhere:
        return f"It is official in {', '.join(elsewhere)}: give that round, or move it to open/."
    near = rules.nearest(name)
    return f"Did you mean {near}?" if near else "Unofficial benchmarks go under open/."


def _scenario_check(
    submitter: Submitter, folder: Path, known: rules.BenchmarkRules | None, names: frozenset[str]
) -> Check:
    spelled = {name: scenario for name in names if (scenario := _scenario(name)) is not None}
    misspelled = sorted(name for name, scenario in spelled.items() if name != scenario)
    names = frozenset(names - spelled.keys() | {str(scenario) for scenario in spelled.values()})
    unknown = names - set(Scenario)
    missing: list[str] = []
    strict = known if submitter.division != "open" else None
    if strict:
        unknown = names - {str(scenario) for scenario in strict.row.allowed}
        missing = [str(scenario) for scenario in strict.row.required if scenario not in names]
        if strict.row.one_of and not names & set(strict.row.one_of):
            missing.append("one of " + " and ".join(strict.row.one_of))
    passed: bool | None = not unknown and not missing and bool(names)
    if not strict and unknown and {name.lower() for name in unknown} <= _EDGE_SCENARIOS:
        passed = None  # scenarios of MLPerf that this project does not run
    if passed and misspelled:
        passed = None  # the official checker reads them in any case
    return Check(
        "tree.scenarios",
        passed,
        f"{', '.join(sorted(names)) or 'none'}; missing: {', '.join(missing) or 'none'}; "
        f"unknown: {', '.join(sorted(unknown)) or 'none'}"
        + (f"; spelled in another case: {', '.join(misspelled)}" if misspelled else ""),
        "the scenarios that the round asks for" if strict else "Offline, Server or Interactive",
        rules.expand_source(known.row.source) if known else "",
        "Run and package what is missing; remove the rest." if passed is False else "",
        relative(folder, submitter.root),
    )


def _case(
    submitter: Submitter,
    benchmark: Path,
    known: rules.BenchmarkRules | None,
    scenario: Scenario,
    place: Path,
) -> Case:
    below = (benchmark.parent.name, benchmark.name, place.name)
    is_v6 = submitter.layout == "v6"
    documents = place if is_v6 else submitter.folder.joinpath("measurements", *below)
    compliance = place if is_v6 else submitter.folder.joinpath("compliance", *below)
    return Case(
        root=submitter.root,
        benchmark=known.name if known else benchmark.name,
        scenario=scenario,
        round=submitter.round,
        division=submitter.division,
        rules=known,
        layout="tree",
        folder=place,
        performance=place / "performance" / "run_1",
        accuracy=place / "accuracy",
        user_conf=documents / "user.conf",
        tests={entry.name: entry for entry in folders(compliance) if is_audit_name(entry.name)},
    )
