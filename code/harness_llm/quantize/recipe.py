"""What is to be quantized, from which samples, with what: the facts that make two quantizations the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Literal

CalibrationKind = Literal["openorca", "humaneval", "jsonl"]
"""Kinds of data set that activations can be measured on."""


class Backend(StrEnum):
    """The package that calibrates and exports, named by what it is called there."""

    MODELOPT = "modelopt"
    QUARK = "quark"

    @property
    def package(self) -> str:
        """Name of the distribution, as a package index knows it."""
        return "nvidia-modelopt" if self is Backend.MODELOPT else "amd-quark"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One quantization; two equal recipes give the same checkpoint.

    Attributes:
        model: Name of the source checkpoint's folder.
        model_digest: `Checkpoint.quick_digest` of that folder.
        calibration: Name of the calibration set.
        calibration_digest: SHA-256 over the calibration prompts as they are used, cut and counted.
        calibration_source: Where the calibration set came from, for the write-up.
        samples: Calibration samples used.
        tokens: Their tokens in all, after the cut.
        sequence_length: A calibration sample is cut to this many tokens.
        backend: What calibrates and exports.
        backend_version: Version of that package.
        model_type: `model_type` of the checkpoint's config.json.
        kv_cache: Format of the key and value cache scales: `fp8`.
        excluded: Modules left in the source's precision.
    """

    model: str
    model_digest: str
    calibration: str
    calibration_digest: str
    calibration_source: str
    samples: int
    tokens: int
    sequence_length: int
    backend: Backend
    backend_version: str
    model_type: str
    kv_cache: str = "fp8"
    excluded: tuple[str, ...] = ("lm_head",)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every field but the names of folders and files."""
        facts = asdict(self)
        for name in ("model", "calibration", "calibration_source"):
            del facts[name]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
