"""The scripts of studies/power, as their original wrote them, on a simulated card."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = ROOT / "studies" / "power"


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def door(tmp_path: Path) -> Path:
    """A copy of the folder beside the source that it uses, so that nothing is written into the repository."""
    (tmp_path / "code").symlink_to(ROOT / "code")
    shutil.copytree(
        HERE, tmp_path / "studies" / "power", ignore=shutil.ignore_patterns("data", "*.csv", "*.png")
    )
    return tmp_path / "studies" / "power"


@pytest.mark.long
def test_every_command_of_the_original_ends_well(door: Path) -> None:
    began = time.monotonic()
    _run(door, sys.executable, "run_experiments.py", "--gpu", "simulated", "--view", "none")
    assert "rows of 3 trials" in _run(door, sys.executable, "process_experiment_data.py")
    for name, has_loss in (("training", True), ("inference", False)):
        header = next(csv.reader((door / f"{name}_stats.csv").read_text().splitlines()))
        asked = ["max_watt", "tokens_per_sec", "total_power_draw", "energy_per_token", "temperature",
                 "gpu_utilization", "memory_utilization", "timestamp"]  # fmt: skip
        assert set(asked) <= set(header) and ("loss" in header) == has_loss
    said = _run(door, sys.executable, "generate_report.py")
    assert "J/token" in said and (door / "report.png").stat().st_size > 50_000
    assert "training: " in _run(door, sys.executable, "recommend.py")
    assert time.monotonic() - began <= 120
    (door / "mine_stats.csv").write_text("max_watt,tokens_per_sec\n1,2\n")
    assert "report.png" in _run(door, "bash", "clean.sh")
    left = {path.name for path in door.iterdir()}
    assert "mine_stats.csv" in left and "experiment.yaml" in left
    assert not left & {"training_stats.csv", "inference_stats.csv", "report.png", "report.html", "data"}
    assert "nothing to remove" in _run(door, "bash", "clean.sh")


@pytest.mark.long
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_each_phase_can_be_measured_alone(door: Path, phase: str) -> None:
    short = ["--values", "[300, 700]", "--set", "trial_s=1", "--set", "idle_s=0"]
    _run(door, sys.executable, f"llm_{phase}.py", "--gpu", "simulated", "--view", "none", *short)
    said = _run(door, sys.executable, "process_experiment_data.py")
    assert f"{phase}_stats.csv: " in said and said.count(" of 2 trials") == said.count(" 0 rows") == 1
    assert f"{phase}: " in _run(door, sys.executable, "recommend.py")


def test_recommend_is_a_module_that_reads_nothing_when_it_is_imported(door: Path) -> None:
    code = "import recommend; print(recommend.recommend_sweet_spot([]).words)"
    assert "nothing was measured" in _run(door, sys.executable, "-c", code)


def test_a_script_without_data_says_which_comes_first(door: Path) -> None:
    for script, words in (
        ("generate_report.py", "process_experiment_data.py"),
        ("recommend.py", "process_exp"),
    ):
        done = subprocess.run([sys.executable, script], cwd=door, capture_output=True, text=True)
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
