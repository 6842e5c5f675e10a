"""docs/adding-an-engine.md, followed to the letter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness_llm
from harness_llm.results.run_folder import RunFolder

PAGE = (Path(__file__).parents[2] / "docs" / "adding-an-engine.md").read_text()
LONGEST = 60  # lines of an engine that a stranger writes


def _block(before: str) -> str:
    """The first code block after these words."""
    found = re.search(r"```\w*\n(.*?)```", PAGE[PAGE.index(before) :], re.DOTALL)
    assert found is not None, before
    return found[1]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package with the file and the row of the page; the folder that holds it."""
    source = Path(harness_llm.__file__).parent
    copy = tmp_path / "code" / "harness_llm"
    copy.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.name not in ("engines", "__pycache__"):
            (copy / entry.name).symlink_to(entry)
    (copy / "engines").mkdir()
    for entry in (source / "engines").glob("*.py"):
        (copy / "engines" / entry.name).write_text(entry.read_text())
    (copy / "engines" / "echo.py").write_text(_block("`engines/echo.py`"))
    face = copy / "engines" / "__init__.py"
    row = _block("In `KINDS` of")
    text = face.read_text().replace("] = {\n", f"] = {{\n{row}", 1)
    face.write_text(
        text.replace(
            "from harness_llm.engines.kind",
            "from harness_llm.engines.echo import Echo\nfrom harness_llm.engines.kind",
            1,
        )
    )
    for name in ("echo.yaml", "echo.conf"):
        (tmp_path / name).write_text(_block(f"`{name}`:"))
    return tmp_path


def test_the_engine_of_the_page_is_short() -> None:
    assert 20 < len(_block("`engines/echo.py`").splitlines()) < LONGEST


def test_the_engine_of_the_page_runs_through_loadgen(package: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "harness_llm",
            "run",
            "--config",
            "echo.yaml",
            "--test",
            "performance",
            "--output",
            "run",
        ],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package / "code")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "of echo 1 ready" in done.stdout and "simulated, not a result" in done.stdout
    test = RunFolder(package / "run").test("Offline/performance").record()
    assert (test.state, test.samples, test.tokens) == ("complete", 20, 160)


def test_an_option_that_it_does_not_have_names_its_place(package: Path) -> None:
    path = package / "echo.yaml"
    path.write_text(path.read_text().replace("pause_s", "pausse_s"))
    done = subprocess.run(
        [sys.executable, "-m", "harness_llm", "prepare", "--config", "echo.yaml"],
        cwd=package, env={**os.environ, "PYTHONPATH": str(package / "code")},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (
        done.returncode == 2 and "pausse_s" in done.stderr and re.search(r"echo\.yaml:\d+:\d+", done.stderr)
    )
