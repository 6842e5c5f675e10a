"""Checks of how answers were made, from what the engine said of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness_llm import rules
from harness_llm.check.case import Case
from harness_llm.check.judgement import Check
from harness_llm.core import Mode
from harness_llm.engines import KINDS
from harness_llm.errors import FolderError
from harness_llm.logs.source import read_object
from harness_llm.results.paths import FACTS_JSON, TEST_JSON, config_file, replica_folder
from harness_llm.results.reading import sound_record
from harness_llm.results.recorded_config import recorded_config
from harness_llm.results.records import EngineRecord, TestRecord

STATED = "decoding"
"""Field of measurements.json in which `package` says what the engine said of itself."""


def engine_facts(case: Case) -> tuple[Path, EngineRecord | None, tuple[str, ...]]:
    """What the first replica of a run said of itself: the file, what it holds, and what is wrong with it."""
    mode = Mode.PERFORMANCE if Mode.PERFORMANCE in case.modes else Mode.ACCURACY
    record, _ = sound_record(case.folder / mode.folder / TEST_JSON, TestRecord)
    path = replica_folder(case.root, record.engines if record is not None else None, 0) / FACTS_JSON
    return path, *sound_record(path, EngineRecord)


def run_decoding_checks(case: Case) -> Iterator[Check]:
    """In a run folder: by the configuration and the facts of the first replica."""
    if case.rules is None or case.is_simulated:
        return
    path, engine, problems = engine_facts(case)
    kind = KINDS.get(engine.name) if engine is not None else None
    if engine is None or kind is None:
        is_kept = path.exists()
        yield case.check(
            "decoding.facts",
            False if is_kept else None,
            "; ".join(problems) or "an engine that is not known" if is_kept else "the run kept none",
            "what the engine said of itself",
            remedy="Run it again.",
            path=path,
        )
        return
    config = config_file(case.root, case.scenario)
    try:
        arguments = recorded_config(config).get("llm_config") or {}
    except FolderError as error:
        yield case.check(
            "decoding.facts", False, str(error), "the configuration of the run", remedy="Run it again.",
            path=config,
        )  # fmt: skip
        return
    yield from _judged(case, kind.decoding(arguments, engine.as_facts()), config)


def tree_decoding_checks(case: Case, measurements: Path) -> Iterator[Check]:
    """In a tree: by what `package` wrote; other submitters' trees say nothing of it."""
    found, _ = read_object(measurements)
    if case.rules is None or case.is_simulated or STATED not in (found or {}):
        return
    try:
        stated = msgspec.convert((found or {})[STATED], rules.Decoding)
    except msgspec.ValidationError as error:
        yield case.check(
            "decoding.readable", False, str(error), "what `package` writes", remedy="Package the run again.",
            path=measurements,
        )  # fmt: skip
        return
    yield from _judged(case, stated, measurements)


def _judged(case: Case, made: rules.Decoding, path: Path) -> Iterator[Check]:
    assert case.rules is not None
    for finding in rules.decoding_findings(case.rules, case.scenario, made, case.end_tokens):
        yield case.judged(finding, path, is_note=not case.is_strict)
