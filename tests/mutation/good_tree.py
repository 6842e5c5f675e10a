"""A closed llama2-70b-99.9 tree for v6.1 in which nothing is wrong, from LoadGen logs of full legal size.

The system under test only slept, so no number in it is a result; the scores are the reference's.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from golden.recorded import accuracy_hash, unpack

from harness_llm.system.fields import FIELDS

if TYPE_CHECKING:
    from pathlib import Path

SUBMITTER = "TestOrg"
SYSTEM = "8xTest_GPU"
BENCHMARK = "llama2-70b-99.9"
SCENARIOS = {"Offline": "llama2-offline", "Server": "llama2-server", "Interactive": "llama2-interactive"}
MEASUREMENTS = {
    "input_data_types": "int32",
    "retraining": "no",
    "starting_weights_filename": "llama-2-70b-chat-hf",
    "weight_data_types": "fp8",
    "weight_transformations": "per-tensor scaling",
}
ACCURACY = "{'rouge1': 44.4312, 'rouge2': 22.0352, 'rougeL': 28.6162, 'tokens_per_sample': 294.4}\n"


def system_description(division: str = "closed") -> dict[str, str]:
    """Every field answered."""
    description = {field.name: field.choices[0] if field.choices else "N/A" for field in FIELDS}
    return description | {
        "submitter": SUBMITTER,
        "division": division,
        "status": "available",
        "system_type": "datacenter",
        "system_name": SYSTEM,
        "number_of_nodes": "1",
        "accelerators_per_node": "8",
    }


def build(root: Path) -> Path:
    """Write the tree below `root` and return it."""
    submitter = root / "closed" / SUBMITTER
    for name in ("systems", "src", "documentation"):
        (submitter / name).mkdir(parents=True)
    (submitter / "systems" / f"{SYSTEM}.json").write_text(json.dumps(system_description()))
    (submitter / "src" / "run.py").write_text("print('the source that ran')\n")
    (submitter / "documentation" / "calibration.md").write_text(
        "# Calibration\n\nPer tensor, 1,000 samples.\n"
    )
    (submitter / "documentation" / "bandwidth.md").write_text("Bandwidth of each NIC: 400 Gbit/s.\n")
    for scenario, recorded in SCENARIOS.items():
        _build_result(submitter / "results" / SYSTEM / BENCHMARK / scenario, scenario, recorded)
    return root


def _build_result(place: Path, scenario: str, recorded: str) -> None:
    run = unpack(recorded, place / "performance" / "run_1")
    shutil.move(run / "user.conf", place / "user.conf")
    accuracy = unpack(f"{recorded}-accuracy", place / "accuracy")
    hashed = accuracy_hash(f"{recorded}-accuracy")
    (accuracy / "accuracy.txt").write_text(f"{ACCURACY}hash={hashed}\n")
    test = unpack(f"{recorded}-test06", place / "TEST06" / "performance" / "run_1")
    (place / "TEST06" / "accuracy").mkdir()
    shutil.move(test / "mlperf_log_accuracy.json", place / "TEST06" / "accuracy" / "mlperf_log_accuracy.json")
    first = "Skipped" if scenario == "Offline" else "True"
    (place / "TEST06" / "verify_accuracy.txt").write_text(
        f"First token check pass: {first}\nEOS check pass: True\nSample length check pass: True\n"
    )
    (place / "README.md").write_text(f"# {BENCHMARK}, {scenario}\n\nRun `submission/llama2_70b.sh`.\n")
    (place / "measurements.json").write_text(json.dumps(MEASUREMENTS))
    for folder in (run, accuracy, test):
        for name in ("user.conf", "test.json", "audit.config", "events.npy"):
            (folder / name).unlink(missing_ok=True)
