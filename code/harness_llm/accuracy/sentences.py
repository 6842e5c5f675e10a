"""Sentences by nltk's English Punkt model, for ROUGE-Lsum; sentence_data.py gets its data."""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import Any

from harness_llm.fetch.places import dataset_root

__all__ = ["COMMAND", "DATA_FILE", "DATA_FOLDER", "has_sentence_model", "split_sentences"]

COMMAND = "python -m harness_llm.accuracy.sentence_data"
"""Gets the data."""

DATA_FOLDER = "nltk_data"
"""Under $LAB_DATASET."""

DATA_FILE = "tokenizers/punkt_tab.zip"
"""Where nltk looks under each of its folders; it reads the archive as it is."""


def has_sentence_model() -> bool:
    """Whether the Punkt data is on this machine, nltk's own or fetched; nothing is fetched."""
    return _model() is not None


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, in order; ask `has_sentence_model` first."""
    model = _model()
    assert model is not None
    return list(model.tokenize(text))


@cache
def _model() -> Any:
    """Nltk's Punkt tokenizer for English, or None where its data is missing."""
    data = importlib.import_module("nltk.data")
    fetched = str(dataset_root(os.environ) / DATA_FOLDER)
    if fetched not in data.path:
        data.path.append(fetched)
    try:
        return importlib.import_module("nltk.tokenize.punkt").PunktTokenizer("english")
    except LookupError:
        return None
