"""Every kind of data set by its name: the one place that a new kind is added to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness_llm.datasets.conversations import Oasst1, ShareGpt
from harness_llm.datasets.dataset_kind import DatasetKind, Reading
from harness_llm.datasets.humaneval import HumanEval
from harness_llm.datasets.openorca import OpenOrca
from harness_llm.datasets.prompts import Prompts
from harness_llm.datasets.synthetic import Synthetic
from harness_llm.datasets.table import SampleTable

KINDS: dict[str, type[DatasetKind]] = {
    "humaneval": HumanEval,
    "jsonl": Prompts,  # its name when it read JSON lines only
    "oasst1": Oasst1,
    "openorca": OpenOrca,
    "prompts": Prompts,
    "sharegpt": ShareGpt,
    "synthetic": Synthetic,
}


def dataset_of(keys: dict[str, Any]) -> DatasetKind:
    """The data set that these keys describe, one of them its `kind`.

    Raises:
        ValueError: There is no such kind, or a key or a value is wrong (pydantic's ValidationError).
    """
    kind = keys.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"unknown kind of data set {kind!r}; known: {', '.join(KINDS)}")
    return KINDS[kind].model_validate(keys)


def load(data_set: DatasetKind, reading: Reading) -> SampleTable:
    """Read a data set of any kind, or its first samples where it asks for no more.

    Raises:
        DatasetError: The data set cannot be used, or has fewer samples than are asked for.
        ModelError: A tokenizer is needed and the folder holds none.
    """
    table = data_set.read(reading)
    table = replace(table, notes=(*table.notes, *reading.notes))
    return table if data_set.samples is None else table.first(data_set.samples)
