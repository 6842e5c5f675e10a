"""Sentences by nltk's English Punkt model, for ROUGE-Lsum; `harness_llm.fetch.punkt` gets its data."""

import importlib
import io
import os
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from harness_llm.fetch.places import dataset_root
from harness_llm.fetch.punkt import PUNKT_FILE, PUNKT_SHA256
from harness_llm.files import file_digest

COMMAND = "python download_model.py --dataset punkt_tab"
"""Gets the data."""


def has_sentence_model() -> bool:
    """Whether the Punkt data is on this machine, fetched or nltk's own; nothing is fetched."""
    return _model() is not None


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, in order; ask `has_sentence_model` first."""
    model = _model()
    assert model is not None
    return list(model.tokenize(text))


@cache
def _model() -> Any:
    """Nltk's Punkt tokenizer for English, or None where its data is missing."""
    punkt = importlib.import_module("nltk.tokenize.punkt")
    archive = dataset_root(os.environ) / PUNKT_FILE
    if archive.is_file() and file_digest(archive) == PUNKT_SHA256:
        return punkt.PunktSentenceTokenizer(_parameters(archive))
    try:
        return punkt.PunktTokenizer("english")
    except LookupError:
        return None


def _parameters(archive: Path) -> Any:
    """The model's parameters out of the archive.

    Read here and not by nltk, which trusts no file that another account owns or that a group may write, as
    data sets often are. This file is known by its digest.
    """
    found = importlib.import_module("nltk.tokenize.punkt").PunktParameters()
    read = importlib.import_module("nltk.tabdata").PunktDecoder()
    with zipfile.ZipFile(archive) as files:

        def opened(name: str) -> io.TextIOWrapper:
            return io.TextIOWrapper(files.open(f"punkt_tab/english/{name}"), encoding="utf-8")

        found.collocations = set(read.tab2tups(opened("collocations.tab")))
        found.sent_starters = read.txt2set(opened("sent_starters.txt"))
        found.abbrev_types = read.txt2set(opened("abbrev_types.txt"))
        found.ortho_context = read.tab2intdict(opened("ortho_context.tab"))
    return found
