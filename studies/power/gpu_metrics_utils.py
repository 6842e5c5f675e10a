"""What the scripts of this folder share: where things lie, and the project's own interpreter and source."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from typing import get_args

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = HERE / "data"


def use_project() -> None:
    """Make `harness_llm` importable, under the project's interpreter where this one lacks what it needs."""
    own = ROOT / ".venv" / "bin" / "python"
    if importlib.util.find_spec("typer") is None and own.exists() and Path(sys.prefix) != own.parents[1]:
        os.execv(own, [str(own), *sys.argv])  # noqa: S606 - the same script, the project's interpreter
    sys.path.insert(0, str(ROOT / "code"))


def read_arguments(description: str, *, objective: bool = False) -> argparse.Namespace:
    """The arguments of a script that takes none, or only what to recommend the least of."""
    use_project()
    from harness_llm.power.recommendation import Objective

    parser = argparse.ArgumentParser(description=description)
    if objective:
        parser.add_argument(
            "--objective", choices=get_args(Objective), default="energy", help="what is least"
        )
    return parser.parse_args()


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
        if argument in short:
            value = next(rest, "")
            is_plain = argument == "--values" and not value.startswith("[")
            asked += ["--set", f"{short[argument]}={f'[{value}]' if is_plain else value}"]
        else:
            asked.append(argument)
    if (DATA / "study.json").exists():
        print(
            "note: continues what is in data/; for another setting, run `bash clean.sh` first",
            file=sys.stderr,
        )
    os.chdir(ROOT)  # paths in the files of this folder begin there
    sys.argv = ["harness-llm", "study", "power", "-c", str(config), "--output", str(DATA), *more, *asked]
    main()
