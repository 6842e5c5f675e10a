"""Other libraries' progress bars: never in a log, never on a terminal that shows a live view."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

QUIET: Mapping[str, str] = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # huggingface_hub's and transformers'
    "TQDM_DISABLE": "1",  # every other tqdm, such as vLLM's
    "TRANSFORMERS_VERBOSITY": "error",
}
"""Variables that each process of the harness starts with, where the user has not set them."""


def quiet_libraries() -> None:
    """Quiet the libraries that this process imports from now on."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("absl").setLevel(logging.WARNING)  # rouge_score's "Using default tokenizer."
