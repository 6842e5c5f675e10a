"""`harness-llm fetch` in this process, with an environment of its own."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from harness_llm import cli

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OURS = ("LAB_MODEL", "LAB_DATASET", "HUGGINGFACE_ACCESS_TOKEN")


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the verb; returns the exit code."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    with (
        mock.patch.dict(os.environ, {**kept, **environment}, clear=True),
        mock.patch.object(sys, "argv", ["download_model.py", "fetch", *arguments]),
        mock.patch.object(signal, "signal"),
        pytest.raises(SystemExit) as ended,
    ):
        cli.main()
    assert ended.value.code is None or isinstance(ended.value.code, int)
    return ended.value.code or 0
