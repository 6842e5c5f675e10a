"""Made-up prompts of given lengths with forced answer lengths: load without a model, a file or a download."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness_llm.datasets.table import SampleTable
from harness_llm.errors import DatasetError

if TYPE_CHECKING:
    from harness_llm.core import GenerationLimits

__all__ = ["LLAMA2_70B", "Lengths", "load_synthetic"]

LLAMA2_70B = "llama2-70b"
"""Name of the shape that resembles the official llama2-70b data set."""

_FIRST_PLAIN_TOKEN = 3
"""Ids 0 to 2 are unknown, begin and end of sequence in the Llama family; prompts hold none of them."""

_SHORTEST_ANSWER = 2
"""LoadGen counts an answer of one token as an error (loadgen/logging.cc, RecordTokenCompletion,
@b66003e1)."""

_SHAPE = re.compile(r"(\d+):(\d+)(?:-(\d+))?:(\d+)(?:-(\d+))?")
_REMEDY = f"Write count:input:output, e.g. 1000:128:64 or 1000:100-400:2-200 (inclusive), or {LLAMA2_70B}."


@dataclass(frozen=True, slots=True)
class Lengths:
    """A skewed distribution of token counts: log-normal, clipped, with an exact mean.

    Attributes:
        mean: Mean over all samples, tokens.
        sigma: Standard deviation of the logarithm before clipping.
        shortest: Smallest count, tokens.
        longest: Largest count, tokens.
    """

    mean: float
    sigma: float
    shortest: int
    longest: int

    def draw(self, count: int, random: np.random.Generator) -> npt.NDArray[np.int32]:
        """Token counts, int32, shape (count,); their sum is the mean times `count`, rounded."""
        assert self.shortest <= self.mean <= self.longest
        logs = self.sigma * random.standard_normal(count)
        total = round(self.mean * count)
        low, high = 0.0, np.log(self.longest) + 10 * self.sigma
        for _ in range(60):  # bisection on the scale; clipping keeps the sum monotonic in it
            middle = (low + high) / 2
            low, high = (middle, high) if self._clipped(logs + middle).sum() < total else (low, middle)
        lengths = self._clipped(logs + low)
        missing = total - int(lengths.sum())
        step = 1 if missing > 0 else -1
        room = np.flatnonzero(lengths < self.longest if step > 0 else lengths > self.shortest)
        lengths[room[: abs(missing)]] += step
        return lengths.astype(np.int32)

    def _clipped(self, logs: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        lengths: npt.NDArray[np.float64] = np.clip(np.rint(np.exp(logs)), self.shortest, self.longest)
        return lengths.astype(np.int64)


_LLAMA2_70B_SAMPLES = 24_576
_LLAMA2_70B_INPUT = Lengths(mean=277.0, sigma=0.8, shortest=20, longest=1023)
"""The official filter keeps prompts under 1,024 tokens (language/llama2-70b/processorca.py,
filter_seqlen_oob, @b66003e1). No source gives the mean: 277 tokens and the spread are this
project's choice."""
_LLAMA2_70B_OUTPUT = Lengths(mean=294.45, sigma=0.8, shortest=_SHORTEST_ANSWER, longest=1024)
"""Mean tokens per sample of the reference run (language/llama2-70b/README.md, @b66003e1); 1,024 is the
official output limit. The spread is this project's choice."""


def load_synthetic(shape: str, limits: GenerationLimits, *, seed: int, vocab_size: int) -> SampleTable:
    """Make a table of random token ids; every answer has exactly the length that the shape gives it.

    Args:
        shape: `count:input:output`, each of the last two one number or an inclusive range `low-high` that is
            drawn from uniformly; or `llama2-70b`: 24,576 samples, prompts of 20 to 1,023 tokens with mean
            277.0, answers of 2 to 1,024 tokens with mean 294.45, clipped log-normal.
        limits: An answer that is longer than `max_tokens` is a contradiction; `min_tokens` is not used.
        seed: The same shape, seed and vocabulary always give the same table.
        vocab_size: Token ids are uniform in 3..vocab_size - 1.

    Raises:
        DatasetError: The shape cannot be read or asks for what cannot be.
    """
    if vocab_size <= _FIRST_PLAIN_TOKEN:
        raise DatasetError(f"synthetic: vocab_size is {vocab_size}, the least is {_FIRST_PLAIN_TOKEN + 1}")
    random = np.random.default_rng(seed)
    inputs, outputs = _draw(shape, random)
    if int(outputs.max()) > limits.max_tokens:
        raise DatasetError(
            f"synthetic shape {shape!r}: answers of up to {int(outputs.max())} tokens, "
            f"max_tokens is {limits.max_tokens}",
            f"Set max_tokens: {int(outputs.max())}, or ask for shorter answers.",
        )
    offsets = np.concatenate(([0], np.cumsum(inputs, dtype=np.int64)))
    tokens = random.integers(_FIRST_PLAIN_TOKEN, vocab_size, int(offsets[-1]), dtype=np.int32)
    return SampleTable(
        name="synthetic",
        tokens=tokens,
        offsets=offsets,
        max_tokens=outputs,
        min_tokens=outputs.copy(),
        source=f"synthetic {shape}, seed {seed}, vocabulary {vocab_size}",
    )


def _draw(shape: str, random: np.random.Generator) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    if shape == LLAMA2_70B:
        return (
            _LLAMA2_70B_INPUT.draw(_LLAMA2_70B_SAMPLES, random),
            _LLAMA2_70B_OUTPUT.draw(_LLAMA2_70B_SAMPLES, random),
        )
    match = _SHAPE.fullmatch(shape)
    if match is None:
        raise DatasetError(f"synthetic shape {shape!r} cannot be read", _REMEDY)
    count = int(match[1])
    if count == 0:
        raise DatasetError(f"synthetic shape {shape!r}: no samples", _REMEDY)
    return (
        _uniform(shape, "input", match[2], match[3], 1, count, random),
        _uniform(shape, "output", match[4], match[5], _SHORTEST_ANSWER, count, random),
    )


def _uniform(
    shape: str,
    what: str,
    first: str,
    last: str | None,
    shortest: int,
    count: int,
    random: np.random.Generator,
) -> npt.NDArray[np.int32]:
    low, high = int(first), int(last or first)
    if low < shortest:
        raise DatasetError(f"synthetic shape {shape!r}: {what} is {low}, the least is {shortest}", _REMEDY)
    if high < low or high > np.iinfo(np.int32).max:
        raise DatasetError(f"synthetic shape {shape!r}: {what} range {low}-{high} cannot be", _REMEDY)
    return random.integers(low, high, count, dtype=np.int32, endpoint=True)
