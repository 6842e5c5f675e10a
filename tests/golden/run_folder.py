"""A run folder as the harness writes it, from recorded LoadGen logs of an unofficial benchmark called toy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from golden.recorded import unpack

from harness_llm.datasets.table import SampleTable
from harness_llm.logs.detail import DetailLog

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
    samples.save(folder / "samples.npz")
    record = {
        "format": 1,
        "benchmark": "toy",
        "official": False,
        "simulated": False,
        "state": "complete",
        "reason": "",
        "git": {"commit": "0" * 40, "dirty": False},
        "dataset": {"name": "toy", "samples": 64, "digest": samples.digest, "source": "toy"},
        "tests": list(tests),
    }
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "config").mkdir()
    for test, recorded in tests.items():
        scenario, _, name = test.partition("/")
        (folder / "config" / f"{scenario}.yaml").write_text("harness_config: {}\n")
        _finish_test(unpack(recorded, folder / scenario / name), name)
    return folder


def _finish_test(place: Path, name: str) -> None:
    log = DetailLog.read(place / "mlperf_log_detail.txt")
    settings = {
        key: log.value(f"requested_{key}") for key in ("min_duration_ms", "min_query_count", "qsl_rng_seed")
    }
    (place / "test.json").write_text(
        json.dumps({"format": 1, "state": "complete", "reason": "", "requested_settings": settings})
    )
    if name != "accuracy":
        return
    (place / "accuracy.txt").write_text("{'rouge1': 40.5, 'tokens_per_sample': 24.0}\n")
    (place / "accuracy.json").write_text(
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
    return np.load(place / "events.npy")
