"""What a look at a part of this machine found, and what would mend it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Judgement(StrEnum):
    """What a finding means for a run."""

    GOOD = "good"
    NOTE = "note"
    FAILS = "fails"


@dataclass(frozen=True)
class Diagnosis:
    """One finding.

    Attributes:
        name: What was looked at.
        judgement: `fails` where something will fail, `note` where figures may be worse for it.
        found: What was found.
        remedy: What would mend it; empty where all is good.
    """

    name: str
    judgement: Judgement
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        head = f"{self.judgement:<5}  {self.name}: {self.found}"
        return f"{head}\n         do: {self.remedy}" if self.remedy else head


def good(name: str, found: str) -> Diagnosis:
    """Nothing to do."""
    return Diagnosis(name, Judgement.GOOD, found)


def note(name: str, found: str, remedy: str) -> Diagnosis:
    """A run works; its figures may be worse, or a part of the harness cannot be used."""
    return Diagnosis(name, Judgement.NOTE, found, remedy)


def fails(name: str, found: str, remedy: str) -> Diagnosis:
    """A run will fail."""
    return Diagnosis(name, Judgement.FAILS, found, remedy)


@dataclass(frozen=True)
class Surroundings:
    """Where probes look.

    Attributes:
        root: Where `proc`, `sys` and `dev` lie.
        environment: Environment variables.
        results: Where results will go, or the nearest folder above it that is there.
        gpus: How many accelerators were found.
    """

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    results: Path = Path()
    gpus: int = 0

    def text(self, path: str) -> str:
        """Content of a small file below the root, stripped; empty where it cannot be read."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""
