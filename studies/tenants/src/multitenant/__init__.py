"""The tenants study for scripts and notebooks: run experiments, read what they measured, draw it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
ROOT = HERE.parents[1]
_PYTHON = ROOT / ".venv" / "bin" / "python"

sys.path.insert(0, str(ROOT / "code"))
if (
    importlib.util.find_spec("msgspec") is None
    and _PYTHON.exists()
    and Path(sys.prefix) != _PYTHON.parents[1]
):
    if not sys.argv[0]:  # a shell or a notebook cannot be started again
        raise ImportError(f"start {_PYTHON}, which has what this package needs")
    os.execv(_PYTHON, [str(_PYTHON), *sys.argv])  # noqa: S606 - the same script, the project's interpreter


def run(config, *options):
    """Measure the experiment of a YAML file as the scripts do; its folder. Options are the study's own."""
    script = 'source "$1/scripts/common.sh"; shift; bench "$@" >&2; results_of "$1"'
    command = ["bash", "-c", script, "run", str(HERE), str(Path(config).resolve()), *options]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


run_solo = run_multitenant = run


def folder_of(experiment):
    """The folder of an experiment, given itself or the YAML file."""
    path = Path(experiment)
    if path.is_dir():
        return path
    if not path.is_file():
        from harness_llm.errors import ConfigError

        raise ConfigError(f"{path}: no such file or folder", "Give an experiment's YAML file, or its folder.")
    script = 'source "$1/scripts/common.sh"; results_of "$2"'
    command = ["bash", "-c", script, "folder", str(HERE), str(path.resolve())]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def load_experiment(experiment):
    """Every trial of an experiment: `.models` and `.gpu` are its figures, `.found` what each tenant did."""
    from harness_llm.tenants.tenants_report import read_measured

    return read_measured(folder_of(experiment))[1]


def analyze(experiment):
    """Write the report, and the plots into plots/<experiment>/; what was found, a sentence each."""
    from harness_llm.tenants.tenants_report import write_tenants_report

    folder = folder_of(experiment)
    return write_tenants_report(folder, HERE / "plots" / folder.name)


_ = sys.modules[__name__]  # so that `from multitenant import _` gives all of it
