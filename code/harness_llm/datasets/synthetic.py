"""Made-up prompts of given lengths with forced answer lengths: load without a model, a file or a download."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from harness_llm.benchmark import all_facts
from harness_llm.benchmark.definition import Shape, Spread
from harness_llm.core import GenerationLimits
from harness_llm.datasets.dataset_kind import DatasetKind, Reading
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import DatasetError

_FIRST_PLAIN_TOKEN = 3
"""Ids 0 to 2 are unknown, begin and end of sequence in the Llama family; prompts hold none of them."""

_SHORTEST_ANSWER = 2
"""LoadGen counts an answer of one token as an error (loadgen/logging.cc, RecordTokenCompletion,
@b66003e1)."""

_SHAPE = re.compile(r"([0-9]{1,10}):([0-9]{1,10})(?:-([0-9]{1,10}))?:([0-9]{1,10})(?:-([0-9]{1,10}))?")
_FIXED = re.compile(r"fixed([0-9]{1,10}):([0-9]{1,10})(?::([0-9]{1,10}))?")
_MOST_TOKENS = 1 << 31
"""Of all prompts together: 8 GiB as they are held."""

_REMEDY = (
    "Write count:input:output, e.g. 1000:128:64 or 1000:100-400:2-200 (inclusive); fixedN:input:variation, "
    "e.g. fixed1000:128:16; or {names}."
)


def draw_lengths(spread: Spread, count: int, random: np.random.Generator) -> npt.NDArray[np.int32]:
    """Token counts, int32, shape (count,); their sum is the spread's mean times `count`, rounded."""
    logs = spread.sigma * random.standard_normal(count)
    total = round(spread.mean * count)
    low, high = 0.0, np.log(spread.longest) + 10 * spread.sigma
    for _ in range(60):  # bisection on the scale; clipping keeps the sum monotonic in it
        middle = (low + high) / 2
        low, high = (middle, high) if _clipped(spread, logs + middle).sum() < total else (low, middle)
    lengths = _clipped(spread, logs + low)
    missing = total - int(lengths.sum())
    step = 1 if missing > 0 else -1
    room = np.flatnonzero(lengths < spread.longest if step > 0 else lengths > spread.shortest)
    lengths[room[: abs(missing)]] += step
    return lengths.astype(np.int32)


def _clipped(spread: Spread, logs: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    lengths: npt.NDArray[np.float64] = np.clip(np.rint(np.exp(logs)), spread.shortest, spread.longest)
    return lengths.astype(np.int64)


class Synthetic(DatasetKind):
    """Samples that are made up, with forced answer lengths; made from a seed, so the same each time.

    Attributes:
        shape: `count:input:output` in tokens, e.g. 1000:128:64 or 1000:100-400:2-200;
            `fixedN:input:variation`, N prompts of nearly one length with answers of max_tokens; or the
            folder of a benchmark that has a shape, such as `llama2-70b`.
        seed: Seed of everything drawn at random.
    """

    kind: Literal["synthetic"] = "synthetic"
    shape: Annotated[str, Field(examples=["1000:128:64"])]
    seed: Annotated[int, Field(ge=0)] = 0

    def read(self, reading: Reading) -> SampleTable:
        """See `load_synthetic`."""
        return load_synthetic(self.shape, reading.limits, seed=self.seed, vocab_size=reading.vocab_size)


def load_synthetic(shape: str, limits: GenerationLimits, *, seed: int, vocab_size: int) -> SampleTable:
    """Make a table of random token ids; every answer has exactly the length that the shape gives it.

    Args:
        shape: `count:input:output`, each of the last two one number or an inclusive range `low-high` that is
            drawn from uniformly; `fixedN:input:variation`, which is `N:(input - variation)-(input +
            variation):max_tokens`, the variation 0 where it is left out; or the name of a folder of models/
            whose benchmark.yaml has a shape, such as `llama2-70b`: as many samples as the official data set,
            with lengths that resemble its own.
        limits: An answer that is longer than `max_tokens` is a contradiction; `min_tokens` is not used.
        seed: The same shape, seed and vocabulary always give the same table.
        vocab_size: Token ids are uniform in 3..vocab_size - 1.

    Raises:
        DatasetError: The shape cannot be read or asks for what cannot be.
    """
    if vocab_size <= _FIRST_PLAIN_TOKEN:
        raise DatasetError(f"synthetic: vocab_size is {vocab_size}, the least is {_FIRST_PLAIN_TOKEN + 1}")
    random = np.random.default_rng(seed)
    inputs, outputs = _draw(_spelled_out(shape, limits), random)
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


def _spelled_out(shape: str, limits: GenerationLimits) -> str:
    """A shape in its long form."""
    fixed = _FIXED.fullmatch(shape)
    if fixed is None:
        return shape
    middle, variation = int(fixed[2]), int(fixed[3] or 0)
    if variation >= middle:
        raise DatasetError(
            f"synthetic shape {shape!r}: prompts of {middle} tokens cannot vary by {variation}", _remedy()
        )
    return f"{fixed[1]}:{middle - variation}-{middle + variation}:{limits.max_tokens}"


def _draw(shape: str, random: np.random.Generator) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    if shape in (named := _named_shapes()):
        known = named[shape]
        return (
            draw_lengths(known.prompt, known.samples, random),
            draw_lengths(known.answer, known.samples, random),
        )
    match = _SHAPE.fullmatch(shape)
    if match is None:
        raise DatasetError(f"synthetic shape {shape!r} cannot be read", _remedy())
    count = int(match[1])
    if count == 0:
        raise DatasetError(f"synthetic shape {shape!r}: no samples", _remedy())
    if count * int(match[3] or match[2]) > _MOST_TOKENS:
        raise DatasetError(
            f"synthetic shape {shape!r}: prompts of more than {_MOST_TOKENS:,} tokens", _remedy()
        )
    return (
        _uniform(shape, "input", match[2], match[3], 1, count, random),
        _uniform(shape, "output", match[4], match[5], _SHORTEST_ANSWER, count, random),
    )


def _named_shapes() -> dict[str, Shape]:
    return {name: facts.shape for name, facts in all_facts().items() if facts.shape is not None}


def _remedy() -> str:
    return _REMEDY.format(names=", ".join(_named_shapes()))


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
        raise DatasetError(f"synthetic shape {shape!r}: {what} is {low}, the least is {shortest}", _remedy())
    if high < low or high > np.iinfo(np.int32).max:
        raise DatasetError(
            f"synthetic shape {shape!r}: {what} range {low}-{high} is empty (low is above high)", _remedy()
        )
    return random.integers(low, high, count, dtype=np.int32, endpoint=True)
