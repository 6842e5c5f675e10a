"""Whether the files of a checkpoint are whole, by their heads alone: 140 GB are looked at in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness_llm.errors import ModelError
from harness_llm.files import open_regular, read_regular

INDEX = "model.safetensors.index.json"
_BIN_INDEX = "pytorch_model.bin.index.json"
_LFS = b"version https://git-lfs"
_LONGEST_HEADER = 100_000_000  # the format's own limit, bytes
_SHOWN = 5
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tiktoken.model", "tekken.json")
"""Files of which a checkpoint with a tokenizer has one."""
_OTHERS = ("tokenizer_config.json", "merges.txt", "special_tokens_map.json", "generation_config.json")


class NotWhole(Exception):  # noqa: N818 - says what is wrong with a file, as the predicate of a sentence
    """A file is missing, empty, cut, or stands for another one."""


@dataclass(frozen=True)
class Tensor:
    """What a safetensors header says of one tensor.

    Attributes:
        dtype: As the format spells it: `BF16`, `F8_E4M3`.
        shape: Its shape.
        start: First byte in the file.
        end: The byte behind its last.
    """

    dtype: str
    shape: list[int]
    start: int
    end: int


def tensors(file: Path) -> dict[str, Tensor]:
    """The header of a safetensors file, held against the file's size.

    The form: 8 bytes little-endian length of a JSON header, the header, the data that its offsets count from.

    Raises:
        NotWhole: It is missing or no whole safetensors file.
    """
    size = _size(file)
    with open_regular(file) as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= min(_LONGEST_HEADER, max(size - 8, 0)):
            raise NotWhole(
                f"is cut short or no safetensors file ({size:,} bytes, its header would have {length:,})"
            )
        text = opened.read(length)
    try:
        header: dict[str, Any] = json.loads(text)
        found = {
            name: Tensor(
                str(entry["dtype"]), entry["shape"], *(8 + length + at for at in entry["data_offsets"])
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotWhole(f"is damaged: its header cannot be read ({type(error).__name__})") from error
    needed = max((tensor.end for tensor in found.values()), default=8 + length)
    if size != needed:
        word = "cut short" if size < needed else "not what its header says"
        raise NotWhole(f"is {word}: {size:,} bytes, by its header {needed:,}")
    return found


def _size(file: Path) -> int:
    """Bytes of a file that is one.

    Raises:
        NotWhole: It is missing, empty, no file, or a pointer of Git LFS.
    """
    try:
        with open_regular(file) as opened:
            if opened.read(len(_LFS)) == _LFS:
                raise NotWhole("is a pointer of Git LFS, not the file itself (git lfs pull)")
            size = opened.seek(0, 2)
    except FileNotFoundError as error:
        link = f"links to {file.readlink()}, which is not there" if file.is_symlink() else "is missing"
        raise NotWhole(link) from error
    except OSError as error:
        raise NotWhole(f"cannot be read: {error.strerror or error}") from error
    if not size:
        raise NotWhole("is empty")
    return size


def check_weights(folder: Path) -> None:
    """Look at the index and at the header of every file of weights.

    Raises:
        ModelError: A file is missing, empty, cut, damaged or a pointer, or the index names what is not there.
    """
    _raise(folder, list(_weight_problems(folder)))


def check_tokenizer(folder: Path, *, must_have: bool) -> None:
    """Look at the tokenizer's files, and at the other small ones.

    Args:
        folder: The checkpoint.
        must_have: Whether it must have a tokenizer.

    Raises:
        ModelError: There is none, or a file is empty, cut or a pointer.
    """
    problems = []
    for name in (*TOKENIZERS, *_OTHERS):
        file = folder / name
        if not (file.exists() or file.is_symlink()):
            continue
        try:
            _size(file)
            if name.endswith(".json"):
                _json(file)
        except NotWhole as error:
            problems.append(f"{name} {error}")
        except (ValueError, RecursionError) as error:
            problems.append(f"{name} is cut short or not valid JSON: {error}")
    if must_have and not any((folder / name).exists() for name in TOKENIZERS):
        problems.append(f"it has no tokenizer ({', '.join(TOKENIZERS[:3])})")
    _raise(folder, problems)


def _raise(folder: Path, problems: list[str]) -> None:
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ModelError(f"{folder}: {'; '.join(problems[:_SHOWN])}{more}", "Fetch the model again.")


def _weight_problems(folder: Path) -> Iterator[str]:
    if (folder / INDEX).exists() or (folder / INDEX).is_symlink():
        yield from _indexed(folder)
    elif files := sorted(folder.glob("*.safetensors")):
        for file in files:
            yield from _problem(file)
    else:
        index = folder / _BIN_INDEX
        try:
            names = _weight_map(index).values() if index.exists() else [f.name for f in folder.glob("*.bin")]
        except NotWhole as error:
            yield f"{_BIN_INDEX} {error}"
            return
        for name in sorted(set(names)):
            try:
                _size(folder / name)
            except NotWhole as error:
                yield f"{name} {error}"


def _problem(file: Path) -> Iterator[str]:
    try:
        tensors(file)
    except NotWhole as error:
        yield f"{file.name} {error}"


def _indexed(folder: Path) -> Iterator[str]:
    try:
        places = _weight_map(folder / INDEX)
    except NotWhole as error:
        yield f"{INDEX} {error}"
        return
    for shard in sorted(set(places.values())):
        try:
            held = tensors(folder / shard)
        except NotWhole as error:
            yield f"{shard} {error}"
            continue
        lacks = [name for name, place in places.items() if place == shard and name not in held]
        if lacks:
            yield f"{shard} lacks {len(lacks)} tensors that {INDEX} names, such as {lacks[0]}"


def _json(file: Path) -> Any:
    try:
        return json.loads(read_regular(file))
    except OSError as error:
        raise NotWhole(f"cannot be read: {error.strerror or error}") from error


def _weight_map(index: Path) -> dict[str, str]:
    _size(index)
    try:
        found = _json(index)["weight_map"]
        return {str(name): str(shard) for name, shard in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotWhole(f"is damaged: it has no weight_map ({type(error).__name__})") from error
