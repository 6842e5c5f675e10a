"""Recorded LoadGen logs and run folders: `unpack` puts one test's files into a folder, `unpack_run` a run."""

from __future__ import annotations

import lzma
import tarfile
from pathlib import Path

LOGS = Path(__file__).parent / "logs"
RUNS = Path(__file__).parent / "runs"


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


def unpack_run(name: str, target: Path) -> Path:
    """Write a run folder recorded on a GPU host into `target` and return it.

    `server_h100` and `offline_h100` are of 2026-11-27: llama3.1-8b's shape in FP8 with made-up weights on one
    H100 (docs/performance.md). Samples, replicas' logs and specifications are left out, and paths shortened.
    """
    with tarfile.open(RUNS / f"{name}.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 has none
        archive.extractall(target)
    return target / name
