"""Check a run folder of the harness."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness_llm import rules
from harness_llm.check.case import Case, relative
from harness_llm.check.decoding_checks import engine_facts, run_decoding_checks
from harness_llm.check.judgement import Check, Report, guarded
from harness_llm.check.record import dataset_checks, record_checks
from harness_llm.check.replay import SET_CLOCK, dated
from harness_llm.check.scenario import scenario_checks
from harness_llm.compliance import is_audit_name
from harness_llm.core import Mode, Scenario
from harness_llm.engines import KINDS
from harness_llm.errors import FolderError
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG, file_problem
from harness_llm.results.paths import RUN_JSON, SHARED_SAMPLES, TEST_JSON, USER_CONF, config_file
from harness_llm.results.reading import sound_record
from harness_llm.results.recorded_config import recorded_config
from harness_llm.results.records import RunRecord, TestRecord
from harness_llm.results.run_folder import state_of
from harness_llm.results.verdict import judge


def check_run(run_dir: Path, round_name: str = rules.LATEST_ROUND) -> Report:
    """Check a run folder, whatever it holds; every fault is a failed check.

    Args:
        run_dir: The folder that `harness-llm run` wrote.
        round_name: Round whose rules apply to an official benchmark; a name that the table lacks fails.
    """
    if round_name not in rules.rounds():
        wrong = Check("run.round", False, round_name, ", ".join(rules.rounds()), remedy="Name a round.")
        return Report("run", str(run_dir), round_name, "unofficial", False, (wrong,))
    record, problems = sound_record(run_dir / RUN_JSON, RunRecord)
    checks = [_damaged_record(problems)] if problems else []
    if record is None:
        return Report("run", str(run_dir), round_name, "unofficial", False, tuple(checks))
    known = rules.lookup(record.benchmark, round_name)
    checks.extend(guarded("run", RUN_JSON, lambda: record_checks(run_dir, record, known, round_name)))
    checks.extend(guarded("dataset", SHARED_SAMPLES, lambda: dataset_checks(run_dir, record, known)))
    for case in _cases(run_dir, record, known, round_name):
        place = relative(case.folder, run_dir)
        own = [
            *guarded("test", place, partial(_test_checks, case)),
            *guarded("run", place, partial(_engine_checks, case)),
            *guarded("decoding", place, partial(run_decoding_checks, case)),
            *scenario_checks(case),
        ]
        checks.extend(replace(check, result=place) for check in own)
    whole = any(check.name == "dataset.official" and check.passed for check in checks)
    label = "official" if known and whole else "unofficial"
    return Report("run", str(run_dir), round_name, label, record.simulated, tuple(checks))


def _damaged_record(problems: tuple[str, ...]) -> Check:
    return Check(
        "run.record",
        False,
        "; ".join(problems),
        "the record of a run",
        remedy="Give a folder that `harness-llm run` wrote.",
        path=RUN_JSON,
    )


def _cases(
    run_dir: Path,
    record: RunRecord,
    known: rules.BenchmarkRules | None,
    round_name: str,
) -> Iterator[Case]:
    for scenario, names in record.by_scenario().items():
        if scenario not in set(Scenario):
            continue
        folder = run_dir / scenario
        modes = frozenset(mode for mode in Mode if mode.folder in names)
        first = Mode.PERFORMANCE if Mode.PERFORMANCE in modes else Mode.ACCURACY
        yield Case(
            root=run_dir,
            benchmark=record.benchmark,
            scenario=Scenario(scenario),
            round=round_name,
            division=None,
            rules=known,
            layout="run",
            folder=folder,
            performance=folder / "performance",
            accuracy=folder / "accuracy",
            user_conf=folder / first.folder / USER_CONF,
            tests={name: folder / name for name in names if is_audit_name(name)},
            samples=record.dataset.samples if record.dataset.samples >= 0 else None,
            modes=modes,
            is_simulated=record.simulated,
        )


def _engine_checks(case: Case) -> Iterator[Check]:
    """What this host cannot know of an engine that is not its own; nothing for one that it can."""
    _, engine, _ = engine_facts(case)
    kind = KINDS.get(engine.name) if engine is not None else None
    try:
        arguments = recorded_config(config_file(case.root, case.scenario)).get("llm_config") or {}
    except FolderError:  # judged by itself
        return
    if kind is not None and (marker := kind.marker_of(arguments)):
        yield case.check(
            "run.engine",
            None,
            marker,
            "an engine that is known, on the model's own weights",
            path=case.performance,
        )


def _test_checks(case: Case) -> Iterator[Check]:
    """The record of each test: complete, and with the settings that LoadGen logged."""
    folders = [(mode.folder, case.folder / mode.folder) for mode in Mode if mode in case.modes]
    for name, folder in (*folders, *case.tests.items()):
        path = folder / TEST_JSON
        record, problems = sound_record(path, TestRecord)
        yield case.check(
            "test.state",
            record is not None and record.state == "complete",
            problems[0] if record is None else ": ".join(filter(None, state_of(case.root, record))),
            "complete",
            remedy="Run it again in the same folder.",
            path=path,
        )
        if record is not None and problems:
            yield case.check(
                "test.record",
                False,
                "; ".join(problems),
                "the record of a test",
                remedy="Run it again in the same folder.",
                path=path,
            )
        if record is not None and record.survived:
            # A first token that was reported is a promise; in an accuracy test only the answers are judged.
            is_kept = name == "accuracy" or not any(it.changed_first_tokens for it in record.survived)
            yield case.check(
                "test.survived",
                None if is_kept else False,
                record.survival,
                "no replica lost" if is_kept else "answers that begin with the first token that was reported",
                remedy="" if is_kept else "Run the test again.",
                path=path,
            )
        if record is not None and record.state == "complete":
            yield case.check(
                "test.verdict",
                not (wrong := judge(folder, record).mismeasured),
                "; ".join(wrong) or "LoadGen's figures and the harness's own agree",
                "figures and answers that the harness's own events bear out",
                remedy="Run the test again.",
                path=folder,
            )
            yield from _dates(case, record, folder)
        config = config_file(case.root, case.scenario)
        if name == Mode.PERFORMANCE.folder and record is not None:
            yield from _requested(case, record, path)
            yield case.check(
                "run.config",
                file_problem(config) is None,
                file_problem(config) or "there",
                "the resolved configuration",
                remedy="Run it again.",
                path=config,
            )


def _dates(case: Case, record: TestRecord, folder: Path) -> Iterator[Check]:
    """LoadGen began within the time of the harness's own record."""
    began = dated(DetailLog.read(folder / DETAIL_LOG).value("test_datetime"))
    first, last = dated(record.started_utc), dated(record.finished_utc)
    if began is None or first is None or last is None:
        return
    yield case.check(
        "test.dates",
        first - SET_CLOCK <= began <= last + SET_CLOCK,
        f"test_datetime {began}",
        f"{first} to {last}, as {TEST_JSON} has it",
        remedy="Record and log are not of one run: run the test again.",
        path=folder / DETAIL_LOG,
    )


_SETTINGS = {
    "min_duration_ms": "requested_min_duration_ms",
    "min_query_count": "requested_min_query_count",
    "qsl_rng_seed": "requested_qsl_rng_seed",
    "sample_index_rng_seed": "requested_sample_index_rng_seed",
    "schedule_rng_seed": "requested_schedule_rng_seed",
    "performance_sample_count_override": "requested_performance_sample_count_override",
    "sample_concatenate_permutation": "requested_sample_concatenate_permutation",
}


def _requested(case: Case, record: TestRecord, path: Path) -> Iterator[Check]:
    given = record.requested_settings
    wrong = [
        f"{key} {given[key]} against {case.detail.value(logged)}"
        for key, logged in _SETTINGS.items()
        if key in given and given[key] != case.detail.value(logged)
    ]
    yield case.check(
        "test.settings",
        bool(given) and not wrong,
        "; ".join(wrong) or f"{len(given)} settings",
        "the settings that LoadGen logged",
        remedy="Record and log are not of one run: run the test again.",
        path=path,
    )
