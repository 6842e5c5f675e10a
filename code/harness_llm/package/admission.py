"""Whether a run may go where it is asked to go, and what must then be said beside its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness_llm import rules
from harness_llm.check.limits import asked_limits
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError, FolderError
from harness_llm.package.documents import Marks
from harness_llm.package.layout import Division
from harness_llm.results.finished import FinishedRun, FinishedScenario
from harness_llm.rules import BenchmarkRules


@dataclass(frozen=True)
class Admission:
    """A run that may be packaged.

    Attributes:
        benchmark: Name to submit under.
        round: Round name.
        division: `closed` or `open`.
        official: The rules of the benchmark in that round; None where it is unofficial there.
        maps_to: For open: the official benchmark that model_mapping.json names; None for none.
        marks: What must be said beside each number.
        warnings: What the submitter must know.
    """

    benchmark: str
    round: str
    division: Division
    official: BenchmarkRules | None
    maps_to: str | None
    marks: Marks
    warnings: tuple[str, ...]


def admit(
    run: FinishedRun, benchmark: str, round_name: str, division: Division, maps_to: str | None
) -> Admission:
    """Decide whether a run may be packaged so.

    Raises:
        ConfigError: The benchmark does not fit the round, the division or `maps_to`.
        FolderError: A figure is not that of what happened. Or closed was asked for, and the run is
            simulated, unofficial, invalid or incomplete.
    """
    official = rules.lookup(benchmark, round_name)
    _check_rename(run.record.benchmark, benchmark)
    if division == "closed":
        _check_closed(run, benchmark, round_name, official)
    elif division != "open":
        raise ConfigError(f"division {division!r} is not known", "Give closed or open.")
    if maps_to is not None:
        _check_mapping(run, benchmark, round_name, maps_to)
    _check_measured(run)
    data = run.record.dataset
    other_data = official is not None and not rules.data_set(official, data.name, data.samples).passed
    marks = Marks(
        run.record.simulated,
        not run.record.official or official is None or other_data,
        "; ".join(dict.fromkeys(filter(None, map(_marker, run.scenarios)))),
    )
    warnings = [
        f"{folder.scenario}: {problem}" for folder in run.scenarios for problem in _flaws(folder, round_name)
    ]
    if other_data:
        warnings.append(f"the data set {data.name} is not that of {benchmark}: marked unofficial")
    if official is None and maps_to is None:
        warnings.append(
            f"{benchmark} is not a benchmark of {round_name}: the official checker reports NoResults for it. "
            "It takes an own model only on an official data set, named with --maps-to."
        )
    if official is not None and division == "closed":
        warnings += _missing_scenarios(run, official)
    return Admission(benchmark, round_name, division, official, maps_to, marks, tuple(warnings))


def _marker(folder: FinishedScenario) -> str:
    return folder.engine_kind.marker_of(folder.config.get("llm_config") or {})


def _check_measured(run: FinishedRun) -> None:
    """Refuse what LoadGen measured wrongly: in a tree, which has no events, nobody would see it."""
    for folder in run.scenarios:
        for test, verdict in folder.verdicts.items():
            if verdict.mismeasured:
                raise FolderError(
                    f"{folder.path / test}: {'; '.join(verdict.mismeasured)}",
                    "No division takes figures that were not measured; run the test again.",
                )


def _check_rename(ran: str, benchmark: str) -> None:
    """A run may be submitted under another name only if LoadGen ran it with the same settings."""
    if ran != benchmark and _settings_name(ran) != _settings_name(benchmark):
        raise ConfigError(
            f"benchmark {benchmark!r}: the run was made as {ran!r}, with other settings of LoadGen",
            "Leave the benchmark out to submit under the run's own name.",
        )


def _settings_name(benchmark: str) -> str:
    """The name in mlperf.conf; a name without its accuracy level, such as llama2-70b, is one already."""
    found = rules.table().benchmarks.get(benchmark)
    return found.conf_name if found else benchmark


def _check_closed(run: FinishedRun, benchmark: str, round_name: str, official: BenchmarkRules | None) -> None:
    if run.record.simulated:
        raise FolderError(
            f"{run.path}: the run is {rules.SIMULATED}, so it cannot go into closed",
            "Run it with a real engine, or rehearse the packaging with --division open.",
        )
    if official is None:
        raise ConfigError(
            f"{benchmark} is not a closed benchmark of {round_name}", _closed_remedy(benchmark, round_name)
        )
    data = run.record.dataset
    if not run.record.official or not rules.data_set(official, data.name, data.samples).passed:
        raise FolderError(
            f"{run.path}: the run did not answer the data set of {benchmark} "
            f"({official.samples.accuracy} samples), but {data.name} ({data.samples} samples)",
            "Package it for open, or run it with the official data set.",
        )
    for _, finding in asked_limits(run.path, run.record, official):
        _require(run.path, finding, "run it with the limits of the rules")
    for folder in run.scenarios:
        for finding in folder.decoding_findings(official):
            _require(folder.path, finding, "run it with an engine that is known to keep this rule")
    for folder in run.scenarios:
        problems = [*_flaws(folder, round_name), *_missing_tests(folder, official)]
        if folder.scenario not in official.row.allowed and round_name != "v5.0":
            problems.append(f"{round_name} has no {folder.scenario} of {benchmark}")
        if problems:
            raise FolderError(
                f"{folder.path}: {'; '.join(problems)}",
                "Closed takes valid and complete results only; run the test again, or package it for open.",
            )


def _require(path: Path, finding: rules.Finding, otherwise: str) -> None:
    """Refuse what closed does not take, and what nobody knows."""
    if not finding.passed:
        raise FolderError(
            f"{path}: {finding.name}: found {finding.found}; the rules: {finding.required} "
            f"({rules.expand_source(finding.source)})",
            f"Package it for open, or {otherwise}.",
        )


def _closed_remedy(benchmark: str, round_name: str) -> str:
    elsewhere = rules.rounds_of(benchmark)
    if elsewhere:
        return f"It is one of {', '.join(elsewhere)}; give that round, another benchmark, or --division open."
    here = tuple(name for name in rules.table().benchmarks if rules.lookup(name, round_name))
    near = [name for name in here if name.startswith(benchmark)]
    close = near or [found for found in (rules.nearest(benchmark, here),) if found]
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}{round_name} has {', '.join(here)}; an unofficial benchmark goes to --division open."


def _check_mapping(run: FinishedRun, benchmark: str, round_name: str, maps_to: str) -> None:
    target = rules.lookup(maps_to, round_name)
    if rules.lookup(benchmark, round_name) is not None:
        raise ConfigError(
            f"maps_to {maps_to!r}: {benchmark} is official in {round_name}", "Leave maps_to out."
        )
    if target is None:
        near = rules.nearest(maps_to)
        raise ConfigError(
            f"maps_to {maps_to!r} is not a benchmark of {round_name}", f"Did you mean {near}?" if near else ""
        )
    if run.record.dataset.samples != target.samples.accuracy:
        raise ConfigError(
            f"maps_to {maps_to!r}: its data set has {target.samples.accuracy} samples, "
            f"this run's ({run.record.dataset.name}) has {run.record.dataset.samples}",
            "Map a benchmark only to one whose whole data set it answered; leave maps_to out otherwise.",
        )


def _flaws(folder: FinishedScenario, round_name: str) -> list[str]:
    """What makes a result no valid one of a round."""
    detail, accuracy = folder.detail, folder.accuracy
    found = [f"{test}: {why}" for test, verdict in folder.verdicts.items() for why in verdict.reasons]
    seeds = rules.round_seeds(round_name).as_settings()
    wrong = [name for name, seed in seeds.items() if detail.integer(f"effective_{name}") != seed]
    if wrong:
        ran = rules.round_of_seeds(*(detail.integer(f"effective_{name}") or 0 for name in seeds))
        found.append(f"the seeds are those of {ran or 'no round'}, not of {round_name} ({', '.join(wrong)})")
    if accuracy is not None and accuracy.passed is False:
        below = [name for name, gate in accuracy.gates.items() if accuracy.scores.get(name, 0) < gate]
        found.append(f"accuracy is below its gate ({', '.join(below) or 'see accuracy.json'})")
    return found


def _missing_tests(folder: FinishedScenario, official: BenchmarkRules) -> list[str]:
    missing = [test for test in official.row.compliance if test not in folder.compliance]
    missing += [] if folder.accuracy and folder.accuracy.passed is not None else ["accuracy against a gate"]
    return [f"{', '.join(missing)} missing"] if missing else []


def _missing_scenarios(run: FinishedRun, official: BenchmarkRules) -> list[str]:
    """Scenarios that the tree must get from this or another run before it can be submitted."""
    present = {folder.scenario for folder in run.scenarios}
    missing = [str(scenario) for scenario in official.row.required if scenario not in present]
    if official.row.one_of and not present & set(official.row.one_of):
        missing.append(f"one of {' or '.join(official.row.one_of)}")
    needs = [f"closed also needs {', '.join(missing)} of this system in the tree"] if missing else []
    if official.round == "v5.0" and Scenario.INTERACTIVE in present:
        needs.append(
            "v5.0 files Interactive as Server of a benchmark of its own, and closed also needs the Offline "
            "of that benchmark: run it under its own name, such as llama2-70b-interactive-99.9"
        )
    return needs
