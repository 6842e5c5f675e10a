"""Whether every sample of a table fits a model: its context and its vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness_llm.errors import DatasetError

if TYPE_CHECKING:
    from harness_llm.datasets.table import SampleTable


def validate_fit(
    table: SampleTable, max_sequence_tokens: int, *, vocab_size: int | None = None, setting: str = ""
) -> None:
    """Check that each prompt plus its longest answer fits the context, and each token id the vocabulary.

    Args:
        table: The samples.
        max_sequence_tokens: Longest prompt plus answer that the engine serves.
        vocab_size: Token ids must be below this; None does not check.
        setting: Of the engine, for the longest prompt plus answer; named in the remedy.

    Raises:
        DatasetError: A sample does not fit; names the worst one, its length, and what would do.
    """
    longest = table.prompt_lengths + table.max_tokens
    worst = int(np.argmax(longest))
    if longest[worst] > max_sequence_tokens:
        count = int((longest > max_sequence_tokens).sum())
        raise DatasetError(
            f"{table.source or table.name}: sample {worst} needs {table.prompt_lengths[worst]} prompt tokens "
            f"+ {table.max_tokens[worst]} max_tokens = {longest[worst]} tokens, the model's context is "
            f"{max_sequence_tokens} ({count} of {len(table)} samples do not fit)",
            (f"Set {setting} to {longest[worst]} or more if the model allows it, " if setting else "")
            + "lower max_tokens, or remove these samples.",
        )
    if vocab_size is not None and int(table.tokens.max()) >= vocab_size:
        position = int(np.argmax(table.tokens >= vocab_size))
        sample = int(np.searchsorted(table.offsets, position, "right")) - 1
        raise DatasetError(
            f"{table.source or table.name}: sample {sample} holds token id {table.tokens[position]}, the "
            f"model's vocabulary ends at {vocab_size - 1}",
            "Use the data set that was tokenized for this model.",
        )
