"""What the submission scripts refuse before they set anything up."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("script", ["llama2_70b.sh", "llama3_1_8b.sh"])
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


@pytest.mark.parametrize(
    ("company", "system", "named"),
    [("My company", "8xH200", "COMPANY"), ("Mine", "8x/H200", "SYSTEM_NAME"), ("", "8xH200", "COMPANY")],
)
def test_a_name_that_cannot_be_a_folder_is_refused_before_the_run(
    company: str, system: str, named: str, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    (tmp_path / "harness-llm").write_text(f"#!/bin/sh\ntouch {started}\nexit 3\n")
    (tmp_path / "harness-llm").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run(company: str, system: str) -> subprocess.CompletedProcess[str]:
        names = {"COMPANY": company, "SYSTEM_NAME": system}
        return subprocess.run(
            ["bash", "-c", "source submission/common.sh && run_and_package any"],
            cwd=ROOT, env=environment | names, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    refused = run(company, system)
    assert refused.returncode == 2 and f"error: {named} " in refused.stderr and "remedy" in refused.stderr
    assert not started.exists()
    assert run("Mine", "8xH200").returncode == 3 and started.exists()
