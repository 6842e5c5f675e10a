"""Data sets: every kind becomes one immutable `SampleTable`, checked before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, assert_never

from harness_llm.core import GenerationLimits
from harness_llm.datasets.fit import validate_fit, validate_prompt_lengths
from harness_llm.datasets.options import DatasetOptions
from harness_llm.datasets.table import SampleTable
from harness_llm.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DatasetKind", "DatasetOptions", "SampleTable", "load", "validate_fit"]

DatasetKind = Literal["humaneval", "jsonl", "openorca", "synthetic"]
"""What `harness_config.dataset` may be."""


def load(
    kind: DatasetKind,
    path: Path | None,
    *,
    model_path: Path | None,
    max_tokens: int,
    min_tokens: int,
    options: DatasetOptions | None = None,
) -> SampleTable:
    """Load a data set of any kind.

    Args:
        kind: Which loader.
        path: File or folder; None for `synthetic`.
        model_path: Checkpoint folder with the tokenizer; needed for `humaneval` and for text in `jsonl`.
        max_tokens: Output limit of samples that have none of their own.
        min_tokens: Shortest answer of samples that have none of their own; at least 2.
        options: Everything else; None takes the defaults.

    Raises:
        DatasetError: The data set cannot be used; names file, sample or line, what was found, and a remedy.
        ModelError: A tokenizer is needed and the folder holds none.
    """
    options = options or DatasetOptions()
    limits = GenerationLimits(min_tokens=min_tokens, max_tokens=max_tokens)
    table = _load(kind, path, model_path, limits, options)
    if options.samples is not None:
        table = _first(table, options.samples)
    if options.max_prompt_tokens is not None:
        validate_prompt_lengths(table, options.max_prompt_tokens)
    return table


def _load(
    kind: DatasetKind,
    path: Path | None,
    model_path: Path | None,
    limits: GenerationLimits,
    options: DatasetOptions,
) -> SampleTable:
    if kind == "synthetic":
        from harness_llm.datasets.synthetic import load_synthetic

        return load_synthetic(options.shape, limits, seed=options.seed, vocab_size=options.vocab_size)
    if path is None:
        raise DatasetError(f"data set {kind} has no path", "Set harness_config.dataset_path.")
    if kind == "jsonl":
        from harness_llm.datasets.jsonl import load_jsonl

        return load_jsonl(path, model_path, limits, options)
    if kind == "openorca":
        from harness_llm.datasets.openorca import load_openorca

        return load_openorca(path, limits, official=options.official)
    if kind == "humaneval":
        from harness_llm.datasets.humaneval import load_humaneval

        if model_path is None:
            raise DatasetError(
                f"{path}: humaneval prompts need a tokenizer and no model is given",
                "Set llm_config.model to a checkpoint folder.",
            )
        return load_humaneval(path, model_path, limits)
    assert_never(kind)


def _first(table: SampleTable, samples: int) -> SampleTable:
    if not 1 <= samples <= len(table):
        raise DatasetError(
            f"{table.source or table.name}: {samples} samples are asked for, the data set has {len(table)}",
            f"Ask for 1 to {len(table)} samples.",
        )
    return SampleTable(
        name=table.name,
        tokens=table.tokens[: table.offsets[samples]].copy(),
        offsets=table.offsets[: samples + 1].copy(),
        max_tokens=table.max_tokens[:samples].copy(),
        min_tokens=table.min_tokens[:samples].copy(),
        references=None if table.references is None else table.references[:samples],
        source=table.source,
    )
