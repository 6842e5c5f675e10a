"""Make a submission tree, or add to one, from a finished run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness_llm import rules
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError, FolderError
from harness_llm.package.admission import Admission, admit
from harness_llm.package.layout import Division, Place, check_name, place_result
from harness_llm.package.source_code import project_root
from harness_llm.package.staging import edit_tree
from harness_llm.package.writer import Writer
from harness_llm.results.finished import FinishedRun, FinishedScenario
from harness_llm.system import SystemFile, read_system_file


@dataclass(frozen=True)
class PackageResult:
    """What `package` made.

    Attributes:
        tree: `<output>/inference_results_<round>`; what a checker takes as its input.
        results: Folder of each result that was written, in the tree.
        marks: What had to be written beside every number; empty for an official result.
        warnings: What does not keep the tree from being written, but the submitter must know.
    """

    tree: Path
    results: tuple[Path, ...]
    marks: tuple[str, ...]
    warnings: tuple[str, ...]


def package(
    run_dir: Path,
    *,
    round: str = rules.LATEST_ROUND,
    division: Division = "open",
    company: str,
    system_name: str,
    output: Path = Path("submission"),
    system_yaml: Path | None = None,
    benchmark: str | None = None,
    maps_to: str | None = None,
    scenarios: Sequence[Scenario] | None = None,
    documentation: Path | None = None,
    repository: Path | None = None,
    replace: bool = False,
) -> PackageResult:
    """Add the results of one run to the tree of a round.

    Args:
        run_dir: A finished run; it is only read.
        round: `v5.0`, `v5.1`, `v6.0` or `v6.1`.
        division: `closed` takes official, valid and complete results only.
        company: The organization, a folder name.
        system_name: The system, a folder name, e.g. `8xMI300X_2xEPYC_9554`.
        output: Where `inference_results_<round>` lies.
        system_yaml: What the machine cannot tell of itself, see `harness-llm system`.
        benchmark: Name to submit under where the run's own leaves it open (`llama2-70b` can be
            `llama2-70b-99` or `llama2-70b-99.9`).
        maps_to: For open: the official benchmark whose data set an own model answered.
        scenarios: Which of the run's scenarios to take; None for all.
        documentation: Folder whose files go to documentation/, such as calibration.md and bandwidth.md.
        repository: The checkout whose commit ran; by default the one this package is imported from.
        replace: Put the results in the place of others of the same system, benchmark and scenario.

    Raises:
        ConfigError: A name, the round, the division or the system YAML will not do.
        FolderError: The run folder lacks something, or the tree already has such a result.
        HostError: The tree cannot be written; it is then as it was before.
    """
    if round not in rules.rounds():
        raise ConfigError(f"round {round!r} is not known", f"Give one of {', '.join(rules.rounds())}.")
    check_name(company, "company")
    check_name(system_name, "system name")
    if documentation is not None and not documentation.is_dir():
        raise FolderError(f"{documentation}: no such folder", "Name the folder that holds the documents.")
    run = FinishedRun.read(run_dir, None if scenarios is None else tuple(scenarios))
    name = check_name(benchmark or run.record.benchmark, "benchmark")
    admission = admit(run, name, round, division, maps_to)
    stated = read_system_file(system_yaml) if system_yaml else SystemFile()
    pairs = [(place_result(round, system_name, name, folder.scenario), folder) for folder in run.scenarios]
    tree = output / f"inference_results_{round}"
    with edit_tree(tree) as stage:
        organization = stage / division / company
        warnings = _write(organization, run, pairs, stated, admission, replace, documentation, repository)
    return PackageResult(
        tree=tree,
        results=tuple(tree / division / company / place.result for place, _ in pairs),
        marks=admission.marks.sentences,
        warnings=(*admission.warnings, *warnings),
    )


def _write(
    organization: Path,
    run: FinishedRun,
    pairs: list[tuple[Place, FinishedScenario]],
    stated: SystemFile,
    admission: Admission,
    replace: bool,
    documentation: Path | None,
    repository: Path | None,
) -> list[str]:
    writer = Writer(organization, run, admission, stated)
    for place, _ in pairs:
        if (organization / place.result).exists() and not replace:
            raise FolderError(
                f"{organization.name}: the tree already has {place.result}",
                "Give --replace to put this run's result in its place, or another system name or output.",
            )
    source = writer.source(pairs[0][0], repository or project_root())
    for place, folder in pairs:
        writer.result(place, folder, source)
    writer.description(pairs[0][0])
    writer.documentation(pairs[0][0], pairs[0][1], documentation)
    writer.mapping(pairs[0][0])
    return writer.warnings
