"""Every official data set that can be had, and which command gets a file of one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from harness_llm.fetch.cnn_dailymail import CNN_DAILYMAIL, CNN_DAILYMAIL_CALIBRATION
from harness_llm.fetch.gpt_oss import GPT_OSS
from harness_llm.fetch.openorca import OPENORCA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness_llm.fetch.published import PublishedSet

__all__ = ["OFFICIAL", "command_for"]

OFFICIAL: Mapping[str, PublishedSet] = {
    known.name: known for known in (OPENORCA, CNN_DAILYMAIL, CNN_DAILYMAIL_CALIBRATION, GPT_OSS)
}
"""The data sets by the name that `download_model.py --dataset` takes."""


def command_for(path: Path) -> str | None:
    """The command that puts an official file at this path; None where none lies under such a name."""
    for known in OFFICIAL.values():
        for name in known.names:
            tail = Path(known.folder, name).parts
            if path.parts[-len(tail) :] == tail:
                root = Path(*path.parts[: -len(tail)])
                return f"LAB_DATASET={shlex.quote(str(root))} python download_model.py --dataset {known.name}"
    return None
