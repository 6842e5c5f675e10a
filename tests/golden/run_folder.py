"""A run folder as the harness writes it, from recorded LoadGen logs of an unofficial benchmark called toy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from golden.recorded import unpack

from harness_llm.check import check_run
from harness_llm.core import Mode, Scenario
from harness_llm.datasets.table import SampleTable
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.source import DETAIL_LOG
from harness_llm.results.paths import (
    ACCURACY_JSON,
    ACCURACY_TXT,
    EVENTS_NPY,
    RUN_JSON,
    SHARED_SAMPLES,
    TEST_JSON,
)
from harness_llm.results.run_folder import TestFolder

if TYPE_CHECKING:
    from pathlib import Path

TESTS = {
    "Offline/performance": "toy-offline-valid",
    "Offline/accuracy": "toy-offline-accuracy",
    "Server/performance": "toy-server-valid",
    "Server/accuracy": "toy-server-accuracy",
}


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def build_run(folder: Path, tests: dict[str, str] | None = None) -> Path:
    """Write the run folder; `tests` maps a test to the recorded logs to use."""
    tests = tests or TESTS
    folder.mkdir(parents=True)
    samples = SampleTable.from_prompts("toy", [[1, 2, 3]] * 64, max_tokens=24, min_tokens=2)
    samples.save(folder / SHARED_SAMPLES)
    record = {
        "format": 2,
        "benchmark": "toy",
        "official": False,
        "simulated": False,
        "state": "complete",
        "reason": "",
        "started_utc": "2026-01-01T00:00:00Z",
        "command": ["harness-llm", "run"],
        "packages": {},
        "host": {},
        "accelerators": [],
        "git": {"commit": "0" * 40, "dirty": False},
        "dataset": {"name": "toy", "samples": 64, "digest": samples.digest, "source": "toy"},
        "tests": list(tests),
    }
    (folder / RUN_JSON).write_text(json.dumps(record))
    (folder / "config").mkdir()
    for test, recorded in tests.items():
        scenario, _, name = test.partition("/")
        (folder / "config" / f"{scenario}.yaml").write_text("harness_config: {}\n")
        _finish_test(unpack(recorded, folder / scenario / name), scenario, name)
    return folder


def write_test(place: Path, scenario: str, **facts: Any) -> None:
    """Write the test.json of a test that ended well, with some facts more or other ones."""
    record = {
        "format": 2,
        "state": "complete",
        "scenario": scenario,
        "mode": "AccuracyOnly" if place.name == "accuracy" else "PerformanceOnly",
        "loadgen_model": "toy",
        "target_qps": 1.0,
        "engines": scenario,
        "started_utc": "2026-01-01T00:00:00Z",
    }
    (place / TEST_JSON).write_text(json.dumps({**record, **facts}))


def begin_test(folder: TestFolder) -> None:
    """Begin a test as a fleet does."""
    folder.begin(
        scenario=Scenario.OFFLINE,
        mode=Mode.PERFORMANCE,
        loadgen_model="toy",
        target_qps=1.0,
        engines="Offline",
    )


def _finish_test(place: Path, scenario: str, name: str) -> None:
    log = DetailLog.read(place / DETAIL_LOG)
    settings = {
        key: log.value(f"requested_{key}") for key in ("min_duration_ms", "min_query_count", "qsl_rng_seed")
    }
    write_test(place, scenario, requested_settings=settings)
    if name != "accuracy":
        return
    (place / ACCURACY_TXT).write_text("{'rouge1': 40.5, 'tokens_per_sample': 24.0}\n")
    (place / ACCURACY_JSON).write_text(
        json.dumps(
            {
                "metric": "rouge",
                "scores": {"rouge1": 40.5},
                "gates": {"rouge1": 40.0},
                "passed": True,
                "tokens_per_sample": 24.0,
                "samples": 64,
            }
        )
    )


def events(place: Path) -> np.ndarray:
    """The events of one test, writable."""
    return np.load(place / EVENTS_NPY)


def failed(run: Path) -> dict[str, str]:
    """What its check finds wrong, by the names of the checks."""
    return {check.name: check.found for check in check_run(run).failures}
