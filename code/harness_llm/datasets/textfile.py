"""Text files of samples, plain or gzipped, read line by line with errors that name the place."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

from harness_llm.errors import DatasetError
from harness_llm.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (from 1) and JSON object of each line of a file, gzipped or not, but for blank lines.

    Raises:
        DatasetError: The file cannot be read or has no lines; a line is no JSON, or no object.
    """
    is_empty = True
    try:
        with open_packed(path) as file:
            for number, raw in enumerate(file, start=1):
                if raw.strip():
                    yield number, _parse(path, number, raw)
                    is_empty = False
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"{path}: cannot be read: {error}", "Check the path, and fetch the file again if it is damaged."
        ) from error
    if is_empty:
        raise DatasetError(f"{path}: the file is empty", "Write one JSON object per line and sample.")


def open_packed(path: Path) -> Any:
    """The bytes of a file, unpacked where its name ends in .gz; a pipe or a device is an OSError."""
    file = open_regular(path)
    if path.suffix != ".gz":
        return file
    unpacked = gzip.GzipFile(fileobj=file, mode="rb")
    unpacked.myfileobj = file  # type: ignore[assignment]  # closing the one closes the other
    return unpacked


def not_json(where: str, error: Exception, remedy: str, text: str = "") -> DatasetError:
    """The error for text that is no JSON."""
    return DatasetError(f"{where}: not JSON: {error}{': ' if text else ''}{shortened(text)}", remedy)


def shortened(text: str, limit: int = 60) -> str:
    """A text as far as a message has room for it."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _parse(path: Path, number: int, raw: bytes) -> dict[str, Any]:
    where = f"{path}, line {number}"
    try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{where}: not UTF-8: {error}", "Save the file as UTF-8.") from error
    try:
        found = json.loads(line)
        if "\\u" in line:
            json.dumps(found, ensure_ascii=False).encode()  # refuses half a character, as tokenizers do
    except (ValueError, RecursionError) as error:
        raise not_json(where, error, "Write one JSON object on each line.", line) from error
    if not isinstance(found, dict):
        raise DatasetError(
            f"{where}: found {shortened(line)}, expected a JSON object",
            'Write {"prompt": "..."} on the line.',
        )
    return found
