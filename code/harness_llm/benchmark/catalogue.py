"""What the benchmark.yaml files under models/ hold, by the names in them."""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path

import yaml
from pydantic import ValidationError

import harness_llm
from harness_llm.benchmark.definition import DataSet, Facts
from harness_llm.errors import BROKEN_INPUT, ConfigError
from harness_llm.files import read_text

FILE = "benchmark.yaml"
MODELS = Path(harness_llm.__file__).parent / "models"
"""One folder for each model: benchmark.yaml, and a profile for each scenario and GPU."""


@cache
def all_datasets() -> dict[str, DataSet]:
    """Every data set that this project can get, by its name."""
    return {known.name: known for facts in all_facts().values() for known in facts.datasets}


def command_for(path: Path) -> str | None:
    """The command that puts a published file at this path; None where none lies under such a name."""
    for known in all_datasets().values():
        for name in known.names if known.uri is not None else ():
            tail = Path(known.folder, name).parts
            if path.parts[-len(tail) :] == tail:
                root = Path(*path.parts[: -len(tail)])
                return f"LAB_DATASET={shlex.quote(str(root))} python download_model.py --dataset {known.name}"
    return None


@cache
def all_facts() -> dict[str, Facts]:
    """The data of every benchmark, by the name of its folder under models/; read once.

    Raises:
        ConfigError: A benchmark.yaml has an unknown key, a wrong value, or a name that another one has.
    """
    found: dict[str, Facts] = {}
    owners: dict[str, str] = {}
    for path in sorted(MODELS.glob(f"*/{FILE}")):
        facts = _read(path)
        for name in (*facts.benchmarks, *(known.name for known in facts.datasets)):
            if (other := owners.setdefault(name, path.parent.name)) != path.parent.name:
                raise ConfigError(f"{path}: {name} is also in {other}/{FILE}")
        found[path.parent.name] = facts
    return found


def facts_of(benchmark: str) -> Facts | None:
    """The data of a benchmark by its name (`llama2-70b-99.9`); None where no benchmark.yaml has it."""
    return next((facts for facts in all_facts().values() if benchmark in facts.benchmarks), None)


def _read(path: Path) -> Facts:
    try:
        return Facts.model_validate(yaml.safe_load(read_text(path)))
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(map(str, detail['loc'])) or 'the file'}: {detail['msg']}"
            for detail in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(lines)) from error
    except (yaml.YAMLError, *BROKEN_INPUT) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
