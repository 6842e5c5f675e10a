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
