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
    said = _run(door, sys.executable, "recommend.py", "--objective", "edp")
    assert "training: " in said and "report.png" in _run(door, "bash", "clean.sh")
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


def test_only_what_the_scripts_wrote_is_removed(door: Path) -> None:
    texts = {
        "training_stats.csv": "timestamp,max_watt,schema\n", "inference_summary.csv": "max_watt,mine\n",
        "training_summary.csv": "max_watt,energy_per_token_low,trials\n", "power_summary.csv": "mine\n",
        "kept_stats.csv": "max_watt,schema\n",
    }  # fmt: skip
    for name, text in texts.items():
        (door / name).write_text(text)
    said = _run(door, "bash", "clean.sh")
    assert said.split() == ["removing", "training_stats.csv", "removing", "training_summary.csv"]
    left = {path.name for path in door.iterdir()} & texts.keys()
    assert left == {"inference_summary.csv", "power_summary.csv", "kept_stats.csv"}


@pytest.mark.parametrize("script", ["process_experiment_data", "generate_report", "recommend"])
def test_an_argument_that_a_script_does_not_take_is_refused(door: Path, script: str) -> None:
    command = [sys.executable, f"{script}.py", "foo.csv"]
    done = subprocess.run(command, cwd=door, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(f"usage: {script}.py")
    assert "unrecognized arguments: foo.csv" in done.stderr


def test_several_values_are_written_plainly_and_a_study_of_before_is_told_of(door: Path) -> None:
    (door / "data").mkdir()
    (door / "data" / "study.json").touch()
    command = ["run_experiments.py", "--gpu", "simulated", "--dry-run", "--values", "300,500"]
    done = subprocess.run([sys.executable, *command], cwd=door, capture_output=True, text=True)
    assert "would measure 1 x 500 W inference" in done.stdout and "clean.sh" in done.stderr


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
