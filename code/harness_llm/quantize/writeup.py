"""calibration.md: how a checkpoint was quantized, written from what was done."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from harness_llm.quantize.exported import Contents
from harness_llm.quantize.recipe import Recipe


@dataclass(frozen=True)
class Execution:
    """How the quantization went.

    Attributes:
        finished_utc: When it ended, ISO 8601, UTC.
        seconds: Time from the model's loading to the export's end, this attempt only.
        resumed_after: Samples calibrated in earlier, interrupted attempts.
        devices: Names of the devices that held the model.
        packages: Package versions.
        command: The command as it was given.
        source_bytes: Size of the source checkpoint's weight files, bytes.
    """

    finished_utc: str
    seconds: float
    resumed_after: int
    devices: tuple[str, ...]
    packages: dict[str, str]
    command: str
    source_bytes: int


def render(recipe: Recipe, contents: Contents, execution: Execution) -> str:
    """The write-up that a submission's documentation folder needs, as Markdown."""
    packages = ", ".join(f"{name} {version}" for name, version in execution.packages.items())
    resumed = (
        f"\n- Continued after an interruption at sample {execution.resumed_after:,}."
        if execution.resumed_after
        else ""
    )
    rows = (
        ("part", "format", "scale"),
        ("---", "---", "---"),
        (
            f"weights of {contents.fp8_weights:,} linear layers",
            "float8_e4m3fn",
            f"one per tensor, from its largest magnitude; {_span(contents.weight_scales)}",
        ),
        (
            "inputs of those layers",
            "float8_e4m3fn",
            f"one per tensor, static, from calibration; {_span(contents.input_scales)}",
        ),
        (
            "key and value cache",
            "float8_e4m3fn",
            f"one per tensor, static, from calibration; {_span(contents.kv_scales)}",
        ),
        (
            f"{', '.join(recipe.excluded)}, embeddings, norms ({contents.other_tensors:,} tensors)",
            "as in the source",
            "none",
        ),
    )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"""# Calibration of {recipe.model}

Post-training quantization to FP8 (E4M3), without retraining and without changing any other weight.

## What is quantized

{table}

A scale is the largest magnitude seen, divided by the largest finite number of the format, 448.
Weight files: {execution.source_bytes / 1e9:,.2f} GB before, {contents.bytes / 1e9:,.2f} GB after.

## What it was calibrated on

- Data set: {recipe.calibration} ({recipe.calibration_source}).
- {recipe.samples:,} samples, the first ones in order, each cut to {recipe.sequence_length:,} tokens:
  {recipe.tokens:,} tokens.
- One sample at a time, so that no padding token was seen.
- SHA-256 over the prompts as used: `{recipe.calibration_digest}`.{resumed}

## Tools

- {recipe.backend.package} {recipe.backend_version}; {packages}; Python {platform.python_version()}.
- Devices: {", ".join(execution.devices)}.
- Command: `{execution.command}`
- Finished {execution.finished_utc} after {execution.seconds:,.0f} s.
- Source checkpoint: `{recipe.model}` ({recipe.model_type}), digest `{recipe.model_digest}`.
- Fingerprint of this quantization: `{recipe.fingerprint}`.
"""


def _span(values: tuple[float, float]) -> str:
    return f"{values[0]:.3g} to {values[1]:.3g}"
