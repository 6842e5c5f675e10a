"""Which weights a checkpoint folder holds, whatever files they are spread over."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from harness_llm.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["STARTING_CHECKPOINT", "weights_digest"]

STARTING_CHECKPOINT = "starting_checkpoint.json"
"""In a quantized checkpoint's folder: `{"model_digest": ...}` of the checkpoint that it was made from."""

_CHUNK = 1 << 20


def weights_digest(folder: Path) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor in the folder's safetensors files.

    Equal for equal weights, however they are sharded and whichever version of a library saved them. A folder
    with a starting_checkpoint.json answers with the digest in it: a quantized checkpoint is judged by the
    reference of the checkpoint that it was made from.

    Raises:
        ModelError: The folder holds no safetensors files, or a damaged one.
    """
    starting = folder / STARTING_CHECKPOINT
    try:
        if starting.is_file():
            return str(json.loads(starting.read_text())["model_digest"])
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise ModelError(f"{folder}: holds no .safetensors file", "Get the model with download_model.py.")
        tensors = sorted(
            (name, entry, file, start) for file in files for name, entry, start in _tensors(file)
        )
        state = hashlib.sha256()
        for name, entry, file, start in tensors:
            state.update(json.dumps([name, *entry[:2]]).encode())
            _update(state, file, start + entry[2][0], start + entry[2][1])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelError(
            f"{folder}: cannot be read as a checkpoint: {error}", "Fetch or convert the model again."
        ) from error
    return state.hexdigest()


def _tensors(file: Path) -> list[tuple[str, tuple[str, list[int], list[int]], int]]:
    """Name, (type, shape, byte range) and start of the data, for each tensor of a safetensors file.

    The form: 8 bytes little-endian length of a JSON header, the header, the data that its offsets count from.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 0 < length < file.stat().st_size:
            raise ValueError(f"{file.name} is damaged")
        header: dict[str, Any] = json.loads(opened.read(length))
    return [
        (name, (entry["dtype"], entry["shape"], entry["data_offsets"]), 8 + length)
        for name, entry in header.items()
        if name != "__metadata__"
    ]


def _update(state: Any, file: Path, start: int, end: int) -> None:
    with file.open("rb") as opened:
        opened.seek(start)
        while start < end:
            chunk = opened.read(min(_CHUNK, end - start))
            if not chunk:
                raise ValueError(f"{file.name} is cut short")
            state.update(chunk)
            start += len(chunk)
