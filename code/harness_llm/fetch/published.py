"""Data sets of MLCommons' public storage: fetched, checked, unpacked, and rewritten where a run needs it."""

from __future__ import annotations

import contextlib
import gzip
import logging
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness_llm.benchmark.definition import Conversion, DataFile, DataSet
from harness_llm.errors import DatasetError, FolderError, HostError
from harness_llm.fetch.conversions import CONVERSIONS
from harness_llm.fetch.digest import Digest
from harness_llm.fetch.disk import disk_errors, require_space
from harness_llm.fetch.folder import exclusive, is_fetched, make_folder, read_record, write_record
from harness_llm.fetch.http import Patience
from harness_llm.fetch.r2 import R2Folder, read_folder
from harness_llm.files import file_digest

_BLOCK_BYTES = 1 << 20
_AWAY = "Move it away and run again."

_logger = logging.getLogger(__name__)


def fetch_published(
    wanted: DataSet, root: Path, *, patience: Patience | None = None, rehash: bool = False
) -> Path:
    """Get a data set into `root`/`wanted.folder`, or find it there.

    Args:
        wanted: What to get; it has a `uri`.
        root: Folder of data sets.
        patience: How long failures are borne.
        rehash: Hash files that are there already, even where nothing about them changed.

    Returns:
        The folder.

    Raises:
        DatasetError: A file there already, under the right name, is another one.
        FolderError: The folder cannot be made, or holds something else.
        HostError: The download failed; what has arrived stays, and the next call goes on from it.
    """
    folder, source = root / wanted.folder, _source(wanted)
    if not is_fetched(folder, source, rehash=rehash):
        with exclusive(folder), disk_errors(folder):
            if not is_fetched(folder, source, rehash=rehash):
                _refuse_another(wanted, folder)
                _fetch_missing(wanted, folder, patience)
                for made in wanted.converted:
                    _make(made, folder)
                write_record(folder, source, only=wanted.names)
    _logger.info("%s is complete", folder)
    return folder


def _source(wanted: DataSet) -> dict[str, Any]:
    """What identifies the content, as the folder's record keeps it."""
    found = {
        "packed_md5": {file.name: file.packed_md5 for file in wanted.files if file.packed_md5},
        "md5": {file.name: file.md5 for file in wanted.files if not file.packed_md5},
        "made": [file.name for file in wanted.converted],
    }
    return {"uri": wanted.uri} | {key: value for key, value in found.items() if value}


def _refuse_another(wanted: DataSet, folder: Path) -> None:
    """A model and a data set may have folders of the same name; the record of one says so."""
    record = read_record(folder)
    if record is not None and "uri" not in record["source"]:
        held = record["source"].get("repository", "something else")
        raise FolderError(
            f"{folder} holds {held}, not the data set {wanted.name}",
            "Move it away, or set LAB_DATASET to another folder.",
        )


def _fetch_missing(wanted: DataSet, folder: Path, patience: Patience | None) -> None:
    published: R2Folder | None = None
    for file in wanted.files:
        if not _is_there(folder / file.name, file.md5):
            assert wanted.uri is not None
            published = published or read_folder(wanted.uri, patience=patience)
            _fetch_one(published, file, folder, patience)


def _is_there(path: Path, md5: str | None) -> bool:
    """Whether a file is there and right, however it came."""
    if not _exists(path) or md5 is None:
        return False
    found = Digest("md5", md5).of(path)
    if found.value != md5:
        raise DatasetError(f"{path} has {found}, the official file has md5 {md5}", _AWAY)
    _logger.info("%s is there, with the official md5", path)
    return True


def _exists(path: Path) -> bool:
    if path.exists() and not path.is_file():
        raise DatasetError(f"{path} is not a file", _AWAY)
    return path.exists()


def _fetch_one(published: R2Folder, file: DataFile, folder: Path, patience: Patience | None) -> None:
    name, right = file.published_name, Digest("md5", file.packed_md5 or file.md5 or "")
    if published.files.get(name, right) != right:
        raise HostError(
            f"{published.url} publishes {name} with {published.files[name]}, known is {right}",
            "The official data set has changed: find out why before you use either.",
        )
    arrived = folder / name
    make_folder(arrived.parent)
    if not (_exists(arrived) and right.matches(arrived)):
        published.fetch(name, arrived, patience=patience)
    if file.packed_md5 is None:
        _logger.info("%s: %s", arrived, right)
        return
    require_space(folder, file.size)
    _unpack(arrived, folder / file.name, file.md5)
    arrived.unlink()


def _unpack(packed: Path, destination: Path, md5: str | None) -> None:
    part = destination.with_name(f"{destination.name}.part")
    with disk_errors(destination), _only_gzip(packed), gzip.open(packed) as source, part.open("wb") as target:
        shutil.copyfileobj(source, target, _BLOCK_BYTES)
    found = Digest("md5", md5 or "").of(part)
    if md5 is not None and found.value != md5:
        part.unlink()
        raise HostError(f"{packed} unpacks to {found}, the official file has md5 {md5}")
    part.replace(destination)
    _logger.info("%s: %s", destination, found)


@contextlib.contextmanager
def _only_gzip(packed: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise HostError(f"{packed}: truncated or damaged gzip file: {error}") from error


def _make(made: Conversion, folder: Path) -> None:
    """Make a file; one that is there already must be the same."""
    source, destination = folder / made.made_of, folder / made.name
    part = destination.with_name(f"{destination.name}.part")
    is_there = _exists(destination)
    require_space(folder, source.stat().st_size)
    with disk_errors(destination):
        CONVERSIONS[made.by](source, part)
    if is_there and file_digest(destination) != file_digest(part):
        part.unlink()
        raise DatasetError(f"{destination} is not what is made of {source.name}", _AWAY)
    part.replace(destination)
    _logger.info("%s: made of %s", destination, source.name)
