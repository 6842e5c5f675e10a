"""Measure a prepared run into its folder, and find one that did not finish."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import harness_llm
from harness_llm import ending
from harness_llm.config.load import dump_config
from harness_llm.core import Mode
from harness_llm.errors import FolderError, HarnessError, HostError, named, refused_by_host
from harness_llm.fleet.roles import REPLICA
from harness_llm.fleet.watch import Watch
from harness_llm.launch.placement import launcher_of
from harness_llm.results.held import is_in_use, utc_now
from harness_llm.results.live_file import LiveFile
from harness_llm.results.observed import LossRecord
from harness_llm.results.paths import RUN_JSON, SHARED_SAMPLES, config_file, telemetry_folder
from harness_llm.results.reading import read_record
from harness_llm.results.records import DatasetRecord, RunRecord, SourceRecord, State
from harness_llm.results.run_folder import RunFolder, TestFolder
from harness_llm.run.groups import Measure, check_disk, measure_groups, measure_once
from harness_llm.run.identity import differences
from harness_llm.run.prepare import Prepared
from harness_llm.run.samples import samples_file
from harness_llm.run.score import score
from harness_llm.system import provenance
from harness_llm.system.detect import detect
from harness_llm.views.live import View
from harness_llm.views.telling import Feed, ToldRun


def execute(
    prepared: Prepared,
    output: Path,
    view: View,
    *,
    resume: bool,
    feeds: Sequence[Feed] = (),
    measure: Measure = measure_once,
) -> None:
    """Measure into a run folder, and score or verify each test that LoadGen ended.

    A run that cannot be VALID any more is given up; run.json and the test's test.json say why.

    Args:
        prepared: From `prepare`.
        output: The run folder; new, or with `resume` one of the same run that did not finish.
        view: Where to show how it goes.
        resume: Continue an unfinished run: complete tests are kept.
        feeds: Who takes the records that live.jsonl gets, too; closed at the end.
        measure: Measures each test.

    Raises:
        FolderError: The folder is in use, finished, or of another run.
        RunBroken: The run cannot go on; run.json says why.
    """
    with ending.clean_up(), RunFolder(output) as folder, ToldRun(view, [LiveFile(output), *feeds]) as told:
        view = told
        _check_state(folder, prepared, resume=resume)
        source = provenance.git_state(Path(harness_llm.__file__).parent)
        if note := _note_on_source(folder, source):
            view.say(f"note: {note}")
        largest = max(
            (prepared.table, *prepared.own_tables.values()), key=lambda table: table.max_tokens.sum()
        )
        check_disk(folder.path, len(prepared.tests), len(largest), int(largest.max_tokens.sum()))
        for note in prepared.notes:
            view.say(f"note: {note}")
        try:
            has_accelerators = _record_start(folder, prepared, source)
            prepared.table.save(folder.path / SHARED_SAMPLES)
            for name, table in prepared.own_tables.items():
                table.save(folder.path / samples_file(name, prepared.own_tables))

            def follow_up(test: Path) -> None:
                TestFolder(test).asked(_described(prepared, test.name))
                result = score(test)
                if result.text:
                    view.say(f"{result.test}: {result.text}")

            harness = prepared.configs[0].harness_config
            with (
                launcher_of(prepared.configs, REPLICA) as launcher,
                Watch(view, interface=harness.interface, port=harness.port, launcher=launcher) as watch,
            ):
                if has_accelerators:
                    watch.sample(telemetry_folder(folder.path))
                try:
                    given_up = measure_groups(watch, folder, prepared.groups, follow_up, measure)
                finally:
                    losses = watch.children.losses
                    folder.lost(LossRecord(name=it.name, kind=it.kind, reason=it.reason) for it in losses)
        except OSError as error:
            _finish_broken(folder, told, str(error))
            raise refused_by_host(
                str(error.filename or folder.path), error, "Choose another folder."
            ) from error
        except HarnessError as error:
            _finish_broken(folder, told, error.message)
            raise
        except Exception as error:
            _finish(folder, told, "broken", named(error))
            raise
        except BaseException:
            _finish(folder, told, "interrupted", "stopped from outside")
            raise
        _finish(folder, told, "abandoned" if given_up else "complete", given_up)


def _finish(folder: RunFolder, told: ToldRun, state: State, reason: str) -> None:
    folder.finish(state, reason)
    told.end(f"{state}: {reason}" if reason else state)


def _finish_broken(folder: RunFolder, told: ToldRun, reason: str) -> None:
    """Record why the run is broken; where that cannot be written, the reason itself is what people read."""
    with suppress(HostError):
        _finish(folder, told, "broken", reason)


def find_unfinished(prepared: Prepared, results: Path) -> Path | None:
    """The newest run folder under `results` that began this very run and did not finish it, if any."""
    found = []
    for path in results.glob(f"*/{RUN_JSON}"):
        try:
            record = read_record(path, RunRecord)
        except FolderError:
            continue
        if (
            record.state != "complete"
            and not is_in_use(path.parent)
            and record.fingerprint == prepared.fingerprint
        ):
            found.append((record.started_utc, path.parent))
    return max(found)[1] if found else None


def _described(prepared: Prepared, test: str) -> DatasetRecord:
    table = prepared.own_tables.get(test, prepared.table)
    return DatasetRecord(
        name=table.name,
        samples=len(table),
        digest=table.digest,
        source=table.source,
        file=samples_file(test, prepared.own_tables),
    )


def _check_state(folder: RunFolder, prepared: Prepared, *, resume: bool) -> None:
    record = folder.record()
    if record is None:
        return
    if record.state == "complete":
        raise FolderError(f"{folder.path}: holds a finished run", "Choose a new folder with --output.")
    if not resume:
        left = "cut off" if record.state == "running" else record.state  # nobody else holds the folder
        raise FolderError(
            f"{folder.path}: holds an unfinished run ({left})",
            "Continue it with --resume, or choose a new folder with --output.",
        )
    if record.fingerprint != prepared.fingerprint:
        found = differences(record.identity, prepared.identity) if record.identity else []
        raise FolderError(
            f"{folder.path}: the run in it is another one:\n  "
            + ("\n  ".join(found) or "an earlier version of harness-llm began it"),
            "Make these as they were to continue it, or choose a new folder with --output.",
        )


def _note_on_source(folder: RunFolder, source: provenance.GitState) -> str:
    """What to say where a run continues with another commit than it began with; else empty."""
    record = folder.record()
    before = record.git.commit if record is not None else None
    if before is None or before == source["commit"]:
        return ""
    return (
        f"this run began with commit {before[:12]} and continues with {(source['commit'] or 'none')[:12]}: "
        "tests that are complete keep what they are, run.json names the latter"
    )


def _record_start(folder: RunFolder, prepared: Prepared, source: provenance.GitState) -> bool:
    """Write what runs; whether this host has accelerators."""
    host = detect()
    record = RunRecord(
        benchmark=prepared.benchmark.name,
        official=prepared.benchmark.is_official,
        simulated=prepared.is_simulated,
        marker=prepared.marker,
        state="running",
        started_utc=utc_now(),
        command=tuple(provenance.command()),
        git=SourceRecord(commit=source["commit"], dirty=source["dirty"], changed=tuple(source["changed"])),
        packages=provenance.packages(),
        host=host.host_json(),
        accelerators=tuple(host.accelerators_json()),
        dataset=_described(prepared, Mode.PERFORMANCE.folder),
        test_datasets={name: _described(prepared, name) for name in prepared.own_tables},
        tests=tuple(test.name for test in prepared.tests),
        fingerprint=prepared.fingerprint,
        identity=prepared.identity,
    )
    folder.begin(record)
    for config in prepared.configs:
        path = config_file(folder.path, config.harness_config.scenario)
        path.parent.mkdir(exist_ok=True)
        path.write_text(dump_config(config), encoding="utf-8")
    return bool(host.accelerators)
