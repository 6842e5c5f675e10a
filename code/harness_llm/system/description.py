"""systems/<system>.json: what the host tells, completed by what the submitter wrote, and validated."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from harness_llm.errors import ConfigError
from harness_llm.files import read_text
from harness_llm.system.detected import NOT_STATED, detected
from harness_llm.system.facts import HostFacts
from harness_llm.system.fields import FIELD_NAMES, FIELDS, OPTIONAL_FIELDS

_LARGEST_BYTES = 1_000_000
_AT_LEAST_ONE = frozenset({"number_of_nodes", "host_processors_per_node", "host_processor_core_count"})


class Measurements(BaseModel):
    """What the submitter says in measurements.json; empty where the run's configuration shall tell.

    Source: submission_checker/constants.py lines 1944-1950 @b66003e1; none may be empty there.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    input_data_types: str = ""
    retraining: str = ""
    starting_weights_filename: str = ""
    weight_data_types: str = ""
    weight_transformations: str = ""


class SystemFile(BaseModel):
    """A system YAML as its author writes it: a value in it wins over what the machine tells.

    Attributes:
        system: Fields of systems/<system>.json; an empty value leaves the field to detection.
        measurements: Fields of measurements.json.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    system: dict[str, str] = {}
    measurements: Measurements = Measurements()


@dataclass(frozen=True)
class Problem:
    """One field of a description that will not do.

    Attributes:
        field: Its key.
        found: What is there; None where the key is missing.
        remedy: What to write, as a question or an instruction with an example.
    """

    field: str
    found: str | None
    remedy: str

    def __str__(self) -> str:
        state = "is missing" if self.found is None else f"is {self.found!r}" if self.found else "is empty"
        return f"{self.field} {state}: {self.remedy}"


def read_system_file(path: Path) -> SystemFile:
    """Read a system YAML.

    Raises:
        ConfigError: It is missing, no YAML, or has an unknown key or a value of a wrong type.
    """
    try:
        # BaseLoader leaves every scalar as the text that was written: `retraining: No` is no boolean here.
        content = yaml.load(read_text(path, _LARGEST_BYTES), Loader=yaml.BaseLoader)
        found = SystemFile.model_validate(content or {})
    except FileNotFoundError as error:
        remedy = f"Write one with `harness-llm system --template {path}`."
        raise ConfigError(f"{path}: no such system file", remedy) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the top level"
        remedy = "The file has two sections, `system:` and `measurements:`, of `key: text`."
        raise ConfigError(f"{path}: {key}: {first['msg']}, found {first['input']!r}", remedy) from error
    for key in found.system:
        if key not in FIELD_NAMES | OPTIONAL_FIELDS:
            close = difflib.get_close_matches(key, FIELD_NAMES, 1)
            remedy = (
                f"Did you mean {close[0]}?" if close else "Remove it, or write it into hw_notes or sw_notes."
            )
            raise ConfigError(f"{path}: system.{key}: no such field of a system description", remedy)
    return found


def describe(
    facts: HostFacts,
    packages: Mapping[str, str],
    stated: Mapping[str, str],
    *,
    engine: str,
    submitter: str,
    division: str,
    system_name: str,
    fill: bool = False,
) -> dict[str, str]:
    """Every field of a system description, in order; empty where nobody told.

    All values are text, so that a host without accelerators has "0" of them, which the official checker
    takes, and not the number 0, which it calls empty.

    Args:
        facts: What the host told.
        packages: Versions of installed packages, from `provenance.packages`.
        stated: The `system` section of the submitter's YAML.
        engine: Name and version of the engine, such as `vLLM 0.25.1`; empty where none is known.
        submitter: Organization, as in the path of the tree.
        division: `closed` or `open`.
        system_name: Used as `system_name` where neither the YAML nor the firmware has one.
        fill: Write `N/A` into what must not be empty, status `rdi` and type `datacenter`; for results that
            are no closed submission.
    """
    told = {key: value.strip() for key, value in stated.items()}
    known = detected(facts, packages, engine)
    known = {**known, "system_name": known["system_name"] or system_name}
    defaults = {field.name: NOT_STATED for field in FIELDS if field.must_say} if fill else {}
    if fill:
        defaults |= {"status": "rdi", "system_type": "datacenter"}
    fixed = {"submitter": submitter, "division": division}
    names = [field.name for field in FIELDS] + sorted(set(told) & OPTIONAL_FIELDS)
    return {
        name: fixed.get(name) or told.get(name) or known.get(name) or defaults.get(name) or ""
        for name in names
    }


def validate(description: Mapping[str, Any], *, submitter: str, division: str) -> tuple[Problem, ...]:
    """What the official checker, or the rules, would find wrong; empty where nothing is."""
    problems = []
    for field in FIELDS:
        found = description.get(field.name)
        text = None if found is None else str(found).strip()
        expected = {"submitter": submitter, "division": division}.get(field.name)
        if text is None or (field.must_say and (not text or found == 0)):
            problems.append(Problem(field.name, text, field.prompt))
        elif expected is not None and text.lower() != expected.lower():
            problems.append(Problem(field.name, text, f"It must be {expected!r}, as the folder is named."))
        elif field.choices and (text.lower() if field.name == "status" else text) not in field.choices:
            problems.append(Problem(field.name, text, field.prompt))
        elif field.name in ("number_of_nodes", "accelerators_per_node") and not text.isdigit():
            problems.append(
                Problem(field.name, text, f"{field.question} The official report needs a whole number.")
            )
        elif re.match(r"-\s*\d", text) or (field.name in _AT_LEAST_ONE and re.fullmatch("0+", text)):
            problems.append(Problem(field.name, text, f"{field.question} No system has so few."))
    return tuple(problems)
