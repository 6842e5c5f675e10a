"""Memory modules out of the firmware's SMBIOS tables, as the kernel shows them to root."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# DMTF DSP0134 (SMBIOS reference specification 3.7), section 7.18: memory device, structure type 17.
_MEMORY_DEVICE = 17
_END_OF_TABLE = 127
_KINDS = {0x12: "DDR", 0x13: "DDR2", 0x18: "DDR3", 0x1A: "DDR4", 0x20: "HBM", 0x21: "HBM2", 0x22: "DDR5"}
_KINDS |= {0x1E: "LPDDR4", 0x23: "LPDDR5", 0x24: "HBM3"}
_SIZE_IS_EXTENDED = 0x7FFF


def read(path: Path) -> str | None:
    """Name the installed modules, e.g. `24x 64 GB DDR5 4800 MT/s`; None where the table cannot be read."""
    try:
        table = path.read_bytes()
    except OSError:
        return None
    modules = Counter(filter(None, map(_module, _structures(table))))
    return ", ".join(f"{count}x {module}" for module, count in modules.items()) or None


def _structures(table: bytes) -> Iterator[bytes]:
    """The formatted part of each structure; its strings, which end at two zero bytes, are skipped."""
    at = 0
    while at + 4 <= len(table):
        kind, length = table[at], table[at + 1]
        if kind == _END_OF_TABLE or length < 4:
            return
        yield table[at : at + length]
        end = table.find(b"\0\0", at + length)
        if end < 0:
            return
        at = end + 2


def _module(structure: bytes) -> str | None:
    """Size, kind and speed of one memory device; None for other structures and for empty slots."""
    if structure[0] != _MEMORY_DEVICE or len(structure) < 0x17:
        return None
    (size,) = struct.unpack_from("<H", structure, 0x0C)
    if size == _SIZE_IS_EXTENDED and len(structure) >= 0x20:
        (megabytes,) = struct.unpack_from("<I", structure, 0x1C)
    elif size in (0, 0xFFFF):
        return None
    else:
        megabytes = size // 1024 if size & 0x8000 else size
    (speed,) = struct.unpack_from("<H", structure, 0x15)
    kind = _KINDS.get(structure[0x12], "")
    return " ".join(filter(None, (f"{megabytes / 1024:g} GB", kind, f"{speed} MT/s" if speed else "")))
