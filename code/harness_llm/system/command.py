"""`harness-llm system`: write a system YAML to complete, or make and validate systems/<system>.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness_llm.engines import DEFAULT, KINDS
from harness_llm.errors import ConfigError, HostError
from harness_llm.files import write_atomically
from harness_llm.system import provenance
from harness_llm.system.description import Problem, SystemFile, describe, read_system_file, validate
from harness_llm.system.detect import detect
from harness_llm.system.detected import detected
from harness_llm.system.facts import HostFacts
from harness_llm.system.fields import FIELDS


@dataclass(frozen=True)
class SystemResult:
    """What `system_command` made.

    Attributes:
        description: All fields, empty where nobody told.
        problems: What is missing or wrong; the command exits with 1 if there is any.
        written: The JSON file; None where none was asked for, or a problem kept it from being written.
    """

    description: dict[str, str]
    problems: tuple[Problem, ...]
    written: Path | None


def system_command(
    output: Path | None,
    yaml: Path | None,
    submitter: str,
    division: str = "open",
    *,
    system_name: str = "",
) -> SystemResult:
    """Describe this host, completed by a system YAML, and write the JSON file if nothing is missing.

    Args:
        output: Where to write systems/<system>.json; None only validates.
        yaml: The submitter's part, see `write_template`; None for none.
        submitter: Organization.
        division: `closed` or `open`.
        system_name: Name of the system where the YAML has none; by default the name of `output`.

    Raises:
        ConfigError: The YAML is wrong.
        HostError: The file cannot be written.
    """
    stated = read_system_file(yaml).system if yaml else SystemFile().system
    name = system_name or (output.stem if output else "")
    packages = provenance.packages()
    description = describe(
        detect(),
        packages,
        stated,
        engine=_engine(packages),
        submitter=submitter,
        division=division,
        system_name=name,
    )
    problems = validate(description, submitter=submitter, division=division)
    if output is None or problems:
        return SystemResult(description, problems, None)
    _write(output, json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    return SystemResult(description, problems, output)


def write_template(path: Path, facts: HostFacts | None = None) -> None:
    """Write a system YAML with what this host tells and a question beside each field.

    Raises:
        ConfigError: The file exists already.
        HostError: It cannot be written.
    """
    if path.exists():
        raise ConfigError(f"{path}: exists already", "Give another name, or remove it first.")
    _write(path, template(facts or detect()))


def template(facts: HostFacts) -> str:
    """The text of a system YAML: detected values as comments, questions above each field."""
    packages = provenance.packages()
    known = detected(facts, packages, _engine(packages))
    lines = [
        "# The system description of a submission. A field left empty takes what the machine of the run",
        "# tells, shown behind `detected:`; (required) fields must have a value then. N/A is a value.",
        "system:",
    ]
    for field in FIELDS:
        if field.name in ("submitter", "division"):
            continue
        required = " (required)" if field.must_say else ""
        lines.append(f"  # {field.prompt}{required}")
        value = known.get(field.name)
        lines.append(f"  {field.name}:" + (f"  # detected: {value}" if value else ""))
    lines += [
        "# What measurements.json says of the weights; an empty field is taken from the run's configuration.",
        "measurements:",
        "  input_data_types:  # e.g. int32",
        "  retraining:  # No, or what was done",
        "  starting_weights_filename:  # e.g. meta-llama/Llama-2-70b-chat-hf",
        "  weight_data_types:  # e.g. fp8",
        "  weight_transformations:  # e.g. quantization, see documentation/calibration.md",
    ]
    return "\n".join(lines) + "\n"


def _engine(packages: Mapping[str, str]) -> str:
    """Name and version of the engine that a run gets unasked."""
    return KINDS[DEFAULT].framework({}, packages)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(f"{path}: cannot be written: {error.strerror}") from error
    write_atomically(path, text)
