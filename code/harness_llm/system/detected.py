"""The fields of a system description that the machine and its packages tell, worded for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from harness_llm.system.facts import HostFacts

NOT_STATED = "N/A"
"""A value to the official checker: the field does not apply, or nobody says."""

_HBM = {
    "H200": "HBM3e",
    "B200": "HBM3e",
    "B300": "HBM3e",
    "MI300X": "HBM3",
    "MI325X": "HBM3E",
    "MI355X": "HBM3E",
}


def detected(facts: HostFacts, packages: Mapping[str, str], engine: str) -> dict[str, str]:
    """The fields that the host and its packages tell; empty text where they do not.

    Args:
        facts: What the host told.
        packages: Versions of installed packages.
        engine: Name and version of the engine; empty where none is known.
    """
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
        "framework": _framework(facts, packages, engine),
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


def _framework(facts: HostFacts, packages: Mapping[str, str], engine: str) -> str:
    torch = f"PyTorch {packages['torch']}" if "torch" in packages else ""
    return ", ".join(filter(None, (engine, torch, facts.compute_stack or "")))


def _software(facts: HostFacts, packages: Mapping[str, str]) -> str:
    driver = facts.accelerators[0].driver if facts.accelerators else None
    parts = [f"Linux {facts.kernel}" if facts.kernel else "", f"GPU driver {driver}" if driver else ""]
    parts += [
        f"{name} {packages[name]}" for name in ("transformers", "mlcommons-loadgen") if name in packages
    ]
    return ", ".join(filter(None, parts))
