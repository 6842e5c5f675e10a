"""Files that hold one sample a row: JSON lines, a JSON list, CSV, text, each perhaps gzipped; Parquet."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sys
import zlib
from typing import TYPE_CHECKING, Any

from harness_llm.datasets.parquet import MAGIC, read_parquet
from harness_llm.datasets.textfile import not_json, open_packed, read_objects, shortened
from harness_llm.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    Row = tuple[str, dict[str, Any]]
    """Where it is, for a message, and its columns."""

_SNIFFED_BYTES = 1 << 16
_DELIMITERS = {".csv": ",;\t|", ".tsv": "\t"}


def read_rows(path: Path, wanted: Callable[[Collection[str]], Collection[str] | None]) -> Iterator[Row]:
    """Every row of a file, in order.

    `.csv`, `.tsv` and `.txt` are taken by their names; JSON lines, a JSON list and Parquet are told apart by
    what the file begins with. Of plain text each line is a `prompt`, but for blank ones; so is each text of a
    JSON list of texts. A JSON object that holds one list is that list.

    Args:
        path: The file.
        wanted: Given the columns of a Parquet file, those to read; None reads all.

    Raises:
        DatasetError: The file cannot be read, is empty, or a row of it is damaged; names the place.
    """
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    try:
        with open_packed(path) as file:
            begin = file.read(_SNIFFED_BYTES)
        if begin.startswith(MAGIC):
            yield from read_parquet(path, wanted)
        elif not begin.strip():
            raise DatasetError(f"{path}: the file is empty", "Write one sample a row.")
        elif kind in _DELIMITERS:
            yield from _table(path, _DELIMITERS[kind])
        elif kind == ".txt":
            yield from _texts(path)
        elif kind == ".parquet":
            raise DatasetError(f"{path}: cannot be read as Parquet: it begins otherwise", "Check the file.")
        elif begin.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[" or _is_one_object(path, begin):
            yield from _list(path)
        else:
            yield from ((f"{path}, line {number}", found) for number, found in read_objects(path))
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(
            f"{path}: cannot be read: {error}", "Check the path, and fetch the file again if it is damaged."
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8: {error}", "Save the file as UTF-8.") from error


def _text(path: Path) -> Any:
    return io.TextIOWrapper(open_packed(path), encoding="utf-8-sig", newline="")


def _is_one_object(path: Path, begin: bytes) -> bool:
    """Whether a file whose name ends in .json is one object over several lines, and no JSON lines."""
    if ".json" not in path.suffixes:
        return False
    try:
        json.loads(begin.splitlines()[0])
    except (ValueError, RecursionError):
        return True
    return len(begin.splitlines()) == 1


def _list(path: Path) -> Iterator[Row]:
    with _text(path) as file:
        try:
            found = json.load(file)
        except (json.JSONDecodeError, RecursionError) as error:
            raise not_json(
                f"{path}, line {getattr(error, 'lineno', 1)}", error, "Write a JSON list."
            ) from error
    if isinstance(found, dict):
        lists = [key for key, value in found.items() if isinstance(value, list)]
        if len(lists) != 1:
            raise DatasetError(
                f"{path}: one JSON object with {len(lists)} lists, expected a list of samples",
                "Write a JSON list, or one JSON object on each line.",
            )
        found = found[lists[0]]
    for number, row in enumerate(found, start=1):
        if not isinstance(row, dict | str):
            raise DatasetError(
                f"{path}, entry {number}: found {shortened(repr(row))}, expected a JSON object or a text",
                'Write a list of {"prompt": "..."}.',
            )
        yield f"{path}, entry {number}", {"prompt": row} if isinstance(row, str) else row


def _table(path: Path, delimiters: str) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # a prompt may be longer than the 128 KiB that csv takes
    with _text(path) as file:
        header = file.readline()
        delimiter = max(delimiters, key=header.count)
        reader = csv.DictReader(itertools.chain([header], file), delimiter=delimiter, strict=True)
        names = reader.fieldnames or ()
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DatasetError(f"{path}: two columns are called {twice[0]!r}", "Give each a name of its own.")
        try:
            for number, row in enumerate(reader, start=1):
                where = f"{path}, row {number}"
                if None in row or None in row.values():
                    raise DatasetError(
                        f"{where}: has {'more' if None in row else 'fewer'} cells than the first line names "
                        f"columns, {len(names)}",
                        "Put a text that holds the separator or a line break in double quotes.",
                    )
                yield where, {name: cell for name, cell in row.items() if cell != ""}
        except csv.Error as error:
            raise DatasetError(
                f"{path}, line {reader.line_num}: not CSV: {error}", 'Write a quote inside quotes twice: "".'
            ) from error


def _texts(path: Path) -> Iterator[Row]:
    with _text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{path}, line {number}", {"prompt": line.rstrip("\r\n")}
