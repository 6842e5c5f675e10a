"""Measure a prepared run into its folder, and find one that did not finish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness_llm
from harness_llm.config.load import dump_config
from harness_llm.errors import FolderError, HarnessError, HostError
from harness_llm.fleet.watch import Watch
from harness_llm.results.folder import RunFolder, TestFolder, is_in_use, read_json, utc_now
from harness_llm.run.groups import check_disk, measure_groups
from harness_llm.run.samples import SHARED_SAMPLES, samples_file
from harness_llm.run.score import score
from harness_llm.system import provenance
from harness_llm.system.detect import detect

if TYPE_CHECKING:
    from harness_llm.run.prepare import Prepared
    from harness_llm.views.live import View

__all__ = ["execute", "find_unfinished"]


def execute(prepared: Prepared, output: Path, view: View, *, resume: bool) -> None:
    """Measure into a run folder, and score or verify each test that LoadGen ended.

    Args:
        prepared: From `prepare`.
        output: The run folder; new, or with `resume` one of the same run that did not finish.
        view: Where to show how it goes.
        resume: Continue an unfinished run: complete tests are kept.

    Raises:
        FolderError: The folder is in use, finished, or of another run.
        RunBroken: The run cannot go on; run.json says why.
    """
    with RunFolder(output) as folder:
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
            _record_start(folder, prepared, source)
            prepared.table.save(folder.path / SHARED_SAMPLES)
            for name, table in prepared.own_tables.items():
                table.save(folder.path / samples_file(name, prepared.own_tables))

            def follow_up(test: Path) -> None:
                TestFolder(test).record(dataset=_described(prepared, test.name))
                result = score(test)
                if result.text:
                    view.say(f"{result.test}: {result.text}")

            with Watch(view, port=prepared.configs[0].harness_config.port) as watch:
                measure_groups(watch, folder, prepared.groups, follow_up)
        except OSError as error:
            folder.record(state="broken", reason=str(error), finished_utc=utc_now())
            raise HostError(
                f"{folder.path}: {error}", "Free disk space, or choose another folder."
            ) from error
        except HarnessError as error:
            folder.record(state="broken", reason=error.message, finished_utc=utc_now())
            raise
        except Exception as error:
            folder.record(state="broken", reason=f"{type(error).__name__}: {error}", finished_utc=utc_now())
            raise
        except BaseException:
            folder.record(state="interrupted", reason="stopped from outside", finished_utc=utc_now())
            raise
        folder.record(state="complete", reason="", finished_utc=utc_now())


def find_unfinished(prepared: Prepared, results: Path) -> Path | None:
    """The newest run folder under `results` that began this very run and did not finish it, if any."""
    found = []
    for record in results.glob("*/run.json"):
        try:
            state = read_json(record)
        except FolderError:
            continue
        if (
            state.get("state") != "complete"
            and not is_in_use(record.parent)
            and state.get("fingerprint") == prepared.fingerprint
        ):
            found.append((str(state.get("started_utc")), record.parent))
    return max(found)[1] if found else None


def _described(prepared: Prepared, test: str) -> dict[str, Any]:
    table = prepared.own_tables.get(test, prepared.table)
    return {
        "name": table.name,
        "samples": len(table),
        "digest": table.digest,
        "source": table.source,
        "file": samples_file(test, prepared.own_tables),
    }


def _check_state(folder: RunFolder, prepared: Prepared, *, resume: bool) -> None:
    state = folder.state()
    if state is None:
        return
    if state.get("state") == "complete":
        raise FolderError(f"{folder.path}: holds a finished run", "Choose a new folder with --output.")
    if not resume:
        raise FolderError(
            f"{folder.path}: holds an unfinished run ({state.get('state')})",
            "Continue it with --resume, or choose a new folder with --output.",
        )
    if state.get("fingerprint") != prepared.fingerprint:
        raise FolderError(
            f"{folder.path}: the run in it had another configuration, data set, user.conf or package version",
            "Use the same ones to continue it, or choose a new folder with --output.",
        )


def _note_on_source(folder: RunFolder, source: provenance.GitState) -> str:
    """What to say where a run goes on with another commit of this package than it began with; else empty."""
    before = ((folder.state() or {}).get("git") or {}).get("commit")
    if before is None or before == source["commit"]:
        return ""
    return (
        f"this run began with commit {before[:12]} and goes on with {(source['commit'] or 'none')[:12]}: "
        "tests that are complete keep what they are, run.json names the latter"
    )


def _record_start(folder: RunFolder, prepared: Prepared, source: provenance.GitState) -> None:
    host = detect()
    earlier = folder.state() or {}
    folder.record(
        benchmark=prepared.benchmark.name,
        official=prepared.benchmark.is_official,
        simulated=prepared.is_simulated,
        marker=prepared.marker,
        state="running",
        reason="",
        started_utc=earlier.get("started_utc") or utc_now(),
        resumed_utc=[*earlier.get("resumed_utc", []), *([utc_now()] if earlier else [])],
        finished_utc=None,
        command=provenance.command(),
        git=dict(source),
        packages=provenance.packages(),
        host=host.host_json(),
        accelerators=host.accelerators_json(),
        dataset=_described(prepared, "performance"),
        test_datasets={name: _described(prepared, name) for name in prepared.own_tables},
        tests=[test.name for test in prepared.tests],
        fingerprint=prepared.fingerprint,
    )
    (folder.path / "config").mkdir(exist_ok=True)
    for config in prepared.configs:
        path = folder.path / "config" / f"{config.harness_config.scenario}.yaml"
        path.write_text(dump_config(config), encoding="utf-8")
