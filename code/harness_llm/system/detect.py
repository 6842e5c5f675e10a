"""Read the host's facts from /proc, /sys and the GPU vendors' libraries; missing is None, never an error."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from harness_llm.system import accelerators, memory_modules
from harness_llm.system.facts import Cpu, Disk, HostFacts, Memory, NetworkCard

_SECTOR_BYTES = 512  # unit of /sys/block/*/size whatever the device's own sectors are
_NOT_STORAGE = re.compile(r"(loop|ram|zram|dm-|md|sr|fd|nbd)\d*")


def detect(root: Path = Path("/")) -> HostFacts:
    """Describe the host that this process runs on; takes well under a second.

    Args:
        root: Where `proc`, `sys` and `etc` lie. The accelerators are asked only for the real root.
    """
    found = accelerators.read() if root == Path("/") else accelerators.Found()
    return HostFacts(
        cpu=_cpu(root),
        memory=Memory(_memory_bytes(root), memory_modules.read(root / "sys/firmware/dmi/tables/DMI")),
        disks=tuple(_disks(root / "sys/block")),
        networks=tuple(_networks(root / "sys/class/net")),
        accelerators=found.accelerators,
        product=_product(root / "sys/class/dmi/id"),
        operating_system=_os_name(root / "etc/os-release"),
        kernel=_text(root / "proc/sys/kernel/osrelease"),
        compute_stack=found.compute_stack,
    )


def _text(path: Path) -> str | None:
    """Content of a small file, stripped; None where it is missing, unreadable or empty."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else None


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _cpu(root: Path) -> Cpu:
    processors = [p for p in _children(root / "sys/devices/system/cpu") if re.fullmatch(r"cpu\d+", p.name)]
    packages: dict[int, set[int]] = {}
    for processor in processors:
        package = _number(processor / "topology/physical_package_id")
        core = _number(processor / "topology/core_id")
        if package is not None and core is not None:
            packages.setdefault(package, set()).add(core)
    cpuinfo = _text(root / "proc/cpuinfo") or ""
    model = re.search(r"^(?:model name|Processor|cpu model)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    hertz_thousands = [_number(p / "cpufreq/cpuinfo_max_freq") or 0 for p in processors]
    return Cpu(
        model=model[1].strip() if model else None,
        architecture=os.uname().machine,
        sockets=len(packages) or None,
        cores_per_socket=max(map(len, packages.values()), default=0) or None,
        threads=len(processors) or None,
        max_mhz=max(hertz_thousands, default=0) // 1000 or _cpuinfo_mhz(cpuinfo),
        caches=_caches(root / "sys/devices/system/cpu/cpu0/cache"),
    )


def _cpuinfo_mhz(cpuinfo: str) -> int | None:
    """Highest current frequency of /proc/cpuinfo: all that a virtual machine shows."""
    found = [float(mhz) for mhz in re.findall(r"^cpu MHz\s*:\s*([\d.]+)$", cpuinfo, re.MULTILINE)]
    return round(max(found)) if found else None


def computes_bfloat16(root: Path = Path("/")) -> bool:
    """Whether the CPU multiplies bfloat16 numbers itself; where it does not, float32 is many times faster."""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", _text(root / "proc/cpuinfo") or "", re.MULTILINE)
    return flags is not None and bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags[1].split()))


def _caches(folder: Path) -> dict[str, str] | None:
    suffixes = {"Data": "d", "Instruction": "i"}
    caches = {}
    for index in _children(folder):
        level, kind, size = _text(index / "level"), _text(index / "type"), _text(index / "size")
        if level and size:
            caches[f"L{level}{suffixes.get(kind or '', '')}"] = size
    return caches or None


def _memory_bytes(root: Path) -> int | None:
    found = re.search(r"^MemTotal:\s*(\d+) kB$", _text(root / "proc/meminfo") or "", re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _disks(folder: Path) -> Iterator[Disk]:
    for device in _children(folder):
        sectors = _number(device / "size")
        if _NOT_STORAGE.fullmatch(device.name) or not sectors or _number(device / "removable") == 1:
            continue
        if device.name.startswith("nvme"):
            kind = "NVMe SSD"
        elif device.name.startswith(("vd", "xvd")):
            kind = "virtual disk"
        else:
            kind = "HDD" if _number(device / "queue/rotational") == 1 else "SSD"
        yield Disk(device.name, sectors * _SECTOR_BYTES, kind, _text(device / "device/model"))


def _networks(folder: Path) -> Iterator[NetworkCard]:
    for interface in _children(folder):
        if not (interface / "device").exists():
            continue
        speed = _number(interface / "speed")
        driver = interface / "device/driver"
        name = driver.resolve().name if driver.exists() else None
        yield NetworkCard(interface.name, speed if speed is not None and speed > 0 else None, name)


def _product(folder: Path) -> str | None:
    parts = [text for name in ("sys_vendor", "product_name") if (text := _text(folder / name))]
    return " ".join(parts) or None


def _os_name(path: Path) -> str | None:
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)"?$', _text(path) or "", re.MULTILINE)
    return found[1] if found else None
