"""Calibration: the prompts that activations are measured on, and maxima that survive an interruption."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from harness_llm.core import GenerationLimits
from harness_llm.datasets.dataset_kind import Reading
from harness_llm.datasets.kinds import dataset_of, load
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import DatasetError
from harness_llm.quantize.recipe import CalibrationKind

_LOG = logging.getLogger(__name__)
SAVE_EVERY_S = 60.0
"""Seconds between two saves of a running calibration."""

_REPORT_EVERY_S = 10.0
_NO_ANSWERS = GenerationLimits(min_tokens=2, max_tokens=2)
_SUFFIXES: dict[str, CalibrationKind] = {".pkl": "openorca", ".jsonl": "jsonl", ".parquet": "jsonl"}


@dataclass(frozen=True)
class CalibrationSet:
    """Calibration prompts in the order in which they are run.

    Attributes:
        name: What the data set is called.
        source: Where it came from, as its loader says.
        prompts: Token ids of each sample, int32, at most the calibration length.
    """

    name: str
    source: str
    prompts: tuple[npt.NDArray[np.int32], ...]

    @property
    def tokens(self) -> int:
        """Prompt tokens in all."""
        return sum(len(prompt) for prompt in self.prompts)

    @property
    def digest(self) -> str:
        """SHA-256 over the length and the token ids of every prompt."""
        state = hashlib.sha256()
        for prompt in self.prompts:
            state.update(np.int64(len(prompt)).tobytes())
            state.update(np.ascontiguousarray(prompt, dtype="<i4").tobytes())
        return state.hexdigest()

    @classmethod
    def from_table(cls, table: SampleTable, samples: int, sequence_length: int) -> CalibrationSet:
        """The first `samples` prompts of a table, each cut to `sequence_length` tokens.

        Raises:
            DatasetError: The table holds fewer samples.
        """
        if len(table) < samples:
            raise DatasetError(
                f"{table.source or table.name}: has {len(table):,} samples; {samples:,} are needed",
                f"Check the file, or use all that it has: --samples {len(table)}",
            )
        prompts = tuple(table.prompt(index)[:sequence_length].copy() for index in range(samples))
        return cls(name=table.name, source=table.source, prompts=prompts)


def load_calibration(
    path: Path, kind: CalibrationKind | None, *, model: Path, samples: int, sequence_length: int
) -> CalibrationSet:
    """Read calibration prompts from any kind of data set that the harness knows.

    Args:
        path: File or folder of the data set.
        kind: `openorca`, `humaneval` or `jsonl`; None goes by the file's name (`.pkl` is openorca,
            `.jsonl` and `.parquet` are jsonl, everything else humaneval).
        model: Checkpoint folder, whose tokenizer and chat template text prompts go through.
        samples: How many samples to use, the first ones.
        sequence_length: Longer prompts are cut to this many tokens.

    Raises:
        DatasetError: The file is missing, malformed or too small.
    """
    if not path.exists():
        raise DatasetError(f"{path}: no such calibration file", "Download it first, or check --calibration.")
    source = dataset_of({"kind": kind or _SUFFIXES.get(path.suffix, "humaneval"), "path": path})
    table = load(source, Reading(_NO_ANSWERS, model))
    return CalibrationSet.from_table(table, samples, sequence_length)


@dataclass(frozen=True)
class CalibrationState:
    """The file that holds how far a calibration came; a maximum can be continued later without loss.

    Attributes:
        path: Safetensors file of running maxima, one tensor a quantizer.
        fingerprint: Of the plan that the maxima belong to; a file of another plan is not read.
    """

    path: Path
    fingerprint: str

    def load(self) -> tuple[int, dict[str, torch.Tensor]]:
        """Samples already seen and the maxima so far; `(0, {})` where there is nothing to continue."""
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("fingerprint") != self.fingerprint:
                    _LOG.warning("%s belongs to another quantization; calibration starts over", self.path)
                    return 0, {}
                return int(metadata["samples"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            if self.path.exists():
                _LOG.warning("%s cannot be read (%s); calibration starts over", self.path, error)
            return 0, {}

    def save(self, samples: int, maxima: Mapping[str, torch.Tensor]) -> None:
        """Replace the file in one step, so that an interruption leaves the old one or the new one."""
        temporary = self.path.with_suffix(".tmp")
        save_file(
            {name: value.detach().float().cpu().contiguous().clone() for name, value in maxima.items()},
            temporary,
            metadata={"fingerprint": self.fingerprint, "samples": str(samples)},
        )
        temporary.replace(self.path)


def feed(
    forward: Callable[[torch.Tensor], object],
    prompts: Sequence[npt.NDArray[np.int32]],
    *,
    start: int,
    device: torch.device,
    save: Callable[[int], None],
) -> None:
    """Run prompts from `start` on through `forward`, one at a time, so that no padding is ever seen.

    A padding token would be counted into the activation maxima like a real one.

    Args:
        forward: Takes token ids, int64, shape (1, tokens), on `device`.
        prompts: Token ids of each sample.
        start: First sample to run; the ones before were seen in an earlier attempt.
        device: Where the model takes its input.
        save: Called with the number of samples seen, every `SAVE_EVERY_S` and at the end.
    """
    began = reported = saved = time.monotonic()
    with torch.inference_mode():
        for index in range(start, len(prompts)):
            forward(torch.from_numpy(prompts[index].astype("int64"))[None].to(device))
            now = time.monotonic()
            if now - saved > SAVE_EVERY_S:
                save(index + 1)
                saved = now
            if now - reported > _REPORT_EVERY_S:
                rate = (index + 1 - start) / (now - began)
                left = (len(prompts) - index - 1) / rate
                _LOG.info("calibrated on %d of %d samples, about %.0f s left", index + 1, len(prompts), left)
                reported = now
    save(len(prompts))
