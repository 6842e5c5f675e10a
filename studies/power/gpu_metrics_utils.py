"""What the scripts of this folder share: where things lie, and the project's own interpreter and source."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = HERE / "data"


def use_project() -> None:
    """Make `harness_llm` importable, under the project's interpreter where this one lacks what it needs."""
    own = ROOT / ".venv" / "bin" / "python"
    if importlib.util.find_spec("typer") is None and own.exists() and Path(sys.prefix) != own.parents[1]:
        os.execv(own, [str(own), *sys.argv])  # noqa: S606 - the same script, the project's interpreter
    sys.path.insert(0, str(ROOT / "code"))


def run_study(arguments: list[str], *more: str) -> None:
    """Run `harness-llm study power` into this folder's `data`, which it continues where it lies there."""
    use_project()
    from harness_llm.cli import main

    is_simulated = "simulated" in arguments or "gpu=simulated" in arguments
    config = HERE / ("smoke.yaml" if is_simulated else "experiment.yaml")
    short = {"--gpu": "gpu", "--knob": "knob", "--trials": "trials", "--values": "values"}
    asked: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        asked += ["--set", f"{short[argument]}={next(rest, '')}"] if argument in short else [argument]
    os.chdir(ROOT)  # paths in the files of this folder begin there
    sys.argv = ["harness-llm", "study", "power", "-c", str(config), "--output", str(DATA), *more, *asked]
    main()
