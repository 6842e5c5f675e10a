"""What the submission scripts refuse before they set anything up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("script", ["llama2_70b.sh", "llama3_1_8b.sh", "gpt_oss_120b.sh"])
def test_a_simulated_run_for_closed_is_refused_at_once(script: str, tmp_path: Path) -> None:
    environment = {**os.environ, "ENGINE": "simulated", "DIVISION": "closed", "HARNESS_VENV": str(tmp_path)}
    done = subprocess.run(
        ["bash", ROOT / "submission" / script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and done.stdout == ""
    error, remedy = done.stderr.splitlines()
    assert error.startswith("error: ") and "simulated, not a result" in error
    assert "remedy: leave DIVISION out" in remedy
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the real scripts and profiles, and commands that only note what they were asked."""
    for folder in ("submission", "setup", "code/harness_llm/models", "requirements"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("inference_results_*")
        )
    (tmp_path / "setup" / "environment.sh").write_text(
        "source setup/host.sh\n"
        f"prepare_environment() {{ echo set-up >>asked; export PATH={tmp_path}/bin:$PATH; }}\n"
    )
    (tmp_path / "bin").mkdir()
    for name in ("harness-llm", "python"):
        command = tmp_path / "bin" / name
        command.write_text(f'#!/bin/sh\necho "{name} $* LAB_DATASET=$LAB_DATASET" >>asked\nexit 3\n')
        command.chmod(0o755)
    return tmp_path


def _run(project: Path, script: str, **variables: str) -> tuple[int, str, list[str]]:
    """Exit status, what stood on stderr, and what was asked for, in order."""
    names = ("COMPANY", "SYSTEM_NAME", "GPU_NAME", "ENGINE", "DIVISION", "TESTS", "SCENARIOS", "LAB_DATASET")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        ["bash", project / "submission" / script],
        env=kept | variables, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    asked = project / "asked"
    return done.returncode, done.stderr, asked.read_text().splitlines() if asked.exists() else []


MINE = {"COMPANY": "Mine", "SYSTEM_NAME": "8xH200", "GPU_NAME": "h200"}


@pytest.mark.parametrize("script", ["llama2_70b.sh", "llama3_1_8b.sh", "gpt_oss_120b.sh"])
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"COMPANY": ""}, "COMPANY is not set"),
        ({"SYSTEM_NAME": ""}, "SYSTEM_NAME is not set"),
        ({"GPU_NAME": ""}, "GPU_NAME is not set"),
        ({"COMPANY": "My company"}, 'COMPANY "My company" cannot be a folder'),
        ({"SYSTEM_NAME": "8x/H200"}, 'SYSTEM_NAME "8x/H200" cannot be a folder'),
        ({"GPU_NAME": "h2000"}, "offline_h2000.yaml"),
        ({"SCENARIOS": "server ofline"}, "ofline_h200.yaml"),
    ],
)
def test_a_wrong_setting_is_a_usage_error_before_anything_is_set_up(
    project: Path, script: str, wrong: dict[str, str], named: str
) -> None:
    status, said, asked = _run(project, script, **MINE | wrong)
    assert (status, asked) == (2, [])
    error, remedy = said.splitlines()
    assert error.startswith("error: ") and named in error and remedy.startswith("  remedy: ")


@pytest.mark.parametrize("wrong", [{"COMPANY": "My company"}, {"SYSTEM_NAME": "8x/CPU"}, {"GPU_NAME": "gpu"}])
def test_the_first_command_refuses_a_wrong_setting_too(project: Path, wrong: dict[str, str]) -> None:
    status, said, asked = _run(project, "smollm2_135m.sh", **wrong)
    assert (status, asked) == (2, []) and said.startswith("error: ") and "\n  remedy: " in said


@pytest.mark.parametrize("script", ["llama2_70b.sh", "gpt_oss_120b.sh"])
def test_right_settings_go_on_to_the_run(project: Path, script: str) -> None:
    status, _, asked = _run(project, script, **MINE)
    assert status == 3 and len(asked) == 2
    assert asked[1].startswith("harness-llm submit ") and asked[1].endswith(
        "LAB_DATASET=/data/inference/data"
    )


def test_a_container_is_handed_what_the_scripts_read() -> None:
    scripts = sorted((ROOT / "submission").glob("*.sh"))
    text = "\n".join(script.read_text() for script in scripts)
    read = set(re.findall(r"\$\{([A-Z][A-Z0-9_]+):[-+]", text))
    assert {"COMPANY", "TEST07_SHAPE"} <= read
    containers = (ROOT / "setup" / "containers.sh").read_text()
    passed = re.search(r"_containers_passed=\((.*?)\)", containers, re.DOTALL)
    assert passed is not None
    # The image says where models, data and trees lie.
    assert {name for name in read if not name.startswith("LAB_")} <= set(passed[1].split())


@pytest.mark.parametrize(
    ("script", "variables", "asked_for"),
    [
        ("llama2_70b.sh", {}, "submit llama2-70b-99.9 --rehearse "),
        ("llama2_70b.sh", {"BENCHMARK": "llama2-70b-99"}, "submit llama2-70b-99 --rehearse "),
        ("llama2_70b.sh", {"SHAPE": "100:8:9"}, "submit llama2-70b-99.9 --shape 100:8:9 --rehearse "),
        ("llama3_1_8b.sh", {}, "submit llama3.1-8b --rehearse "),
        (
            "gpt_oss_120b.sh",
            {"TEST07_SHAPE": "9:4:5"},
            "submit gpt-oss-120b --shape TEST07=9:4:5 --rehearse ",
        ),
    ],
)
def test_a_rehearsal_is_asked_for(
    project: Path, script: str, variables: dict[str, str], asked_for: str
) -> None:
    status, _, asked = _run(project, script, ENGINE="simulated", **variables)
    assert status == 3 and len(asked) == 2
    assert asked_for in asked[1]
