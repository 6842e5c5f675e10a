"""Recorded LoadGen logs as they were written: `unpack` puts one test's files into a folder."""

from __future__ import annotations

import lzma
from pathlib import Path

LOGS = Path(__file__).parent / "logs"


def unpack(name: str, target: Path) -> Path:
    """Write the files of one recorded test into `target` and return it."""
    target.mkdir(parents=True, exist_ok=True)
    sources = sorted((LOGS / name).glob("*.xz"))
    assert sources, name
    for source in sources:
        (target / source.name.removesuffix(".xz")).write_bytes(lzma.decompress(source.read_bytes()))
    return target


def accuracy_hash(name: str) -> str:
    """SHA-256 of the whole accuracy log of a recorded test."""
    return (LOGS / name / "accuracy.sha256").read_text().strip()
