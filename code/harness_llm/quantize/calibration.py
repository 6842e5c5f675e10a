"""The prompts that activations are measured on, cut to the calibration length, with a digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness_llm import datasets
from harness_llm.datasets.options import DatasetOptions
from harness_llm.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from harness_llm.datasets.table import SampleTable

__all__ = ["CalibrationKind", "CalibrationSet", "load_calibration"]

CalibrationKind = Literal["openorca", "humaneval", "jsonl"]

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
                f"{table.source or table.name}: {samples:,} samples are wanted, it holds {len(table):,}",
                f"Name the right file, or calibrate on what it holds: --samples {len(table)}",
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
        raise DatasetError(
            f"{path}: no such calibration file", "Download it first, or name it with --calibration."
        )
    table = datasets.load(
        kind or _SUFFIXES.get(path.suffix, "humaneval"),
        path,
        model_path=model,
        max_tokens=2,
        min_tokens=2,
        options=DatasetOptions(official=False),
    )
    return CalibrationSet.from_table(table, samples, sequence_length)
