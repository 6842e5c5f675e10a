"""Data sets of MLCommons' public storage: fetched, checked, unpacked, and rewritten where a run needs it."""

from __future__ import annotations

import contextlib
import gzip
import logging
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness_llm.errors import DatasetError, FolderError, HostError
from harness_llm.fetch.digest import Digest, sha256
from harness_llm.fetch.disk import disk_errors, require_space
from harness_llm.fetch.folder import exclusive, make_folder
from harness_llm.fetch.r2 import read_folder
from harness_llm.fetch.record import is_fetched, read_record, write_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness_llm.fetch.http import Patience
    from harness_llm.fetch.r2 import R2Folder

__all__ = ["MadeFile", "PublishedFile", "PublishedSet", "fetch_published"]

_BLOCK_BYTES = 1 << 20
_AWAY = "Move it away and run again."

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One file of a published folder.

    Attributes:
        name: Path in our folder and in the published one, where `.gz` follows if `packed_md5` is given.
        md5: MD5 of the file itself; None where nobody published one, and then `packed_md5` vouches for it.
        packed_md5: MD5 of the gzipped file; None where the file is published as it is.
        size: Bytes that it takes unpacked, roughly: what is asked of the disk before unpacking.
    """

    name: str
    md5: str | None = None
    packed_md5: str | None = None
    size: int = 0

    @property
    def published_name(self) -> str:
        """Path in the published folder."""
        return self.name if self.packed_md5 is None else f"{self.name}.gz"

    @property
    def published_digest(self) -> Digest:
        """What the published file must have."""
        value = self.md5 if self.packed_md5 is None else self.packed_md5
        assert value is not None, f"{self.name}: no digest"
        return Digest("md5", value)


@dataclass(frozen=True)
class MadeFile:
    """A file that is made of a published one, which stays beside it.

    Attributes:
        name: Path in the folder.
        source: Path in the folder of what it is made of; it takes no more room than that.
        make: Writes it, given that path and where to; the same bytes each time.
    """

    name: str
    source: str
    make: Callable[[Path, Path], None]


@dataclass(frozen=True)
class PublishedSet:
    """A data set as it is published, and how it lies here.

    Attributes:
        name: What `download_model.py --dataset` calls it.
        folder: Path of its folder under the folder of data sets.
        uri: URL of the `.uri` file.
        files: What is fetched; what else is published there is left alone.
        made: What is made of these.
    """

    name: str
    folder: str
    uri: str
    files: tuple[PublishedFile, ...]
    made: tuple[MadeFile, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Path in the folder of every file, fetched or made."""
        return (*(file.name for file in self.files), *(file.name for file in self.made))

    @property
    def source(self) -> dict[str, Any]:
        """What identifies the content, as the folder's record keeps it."""
        found = {
            "packed_md5": {file.name: file.packed_md5 for file in self.files if file.packed_md5},
            "md5": {file.name: file.md5 for file in self.files if not file.packed_md5},
            "made": [file.name for file in self.made],
        }
        return {"uri": self.uri} | {key: value for key, value in found.items() if value}


def fetch_published(
    wanted: PublishedSet, root: Path, *, patience: Patience | None = None, rehash: bool = False
) -> Path:
    """Get a data set into `root`/`wanted.folder`, or find it there.

    Args:
        wanted: What to get.
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
    folder = root / wanted.folder
    if not is_fetched(folder, wanted.source, rehash=rehash):
        with exclusive(folder), disk_errors(folder):
            if not is_fetched(folder, wanted.source, rehash=rehash):
                _refuse_another(wanted, folder)
                _fetch_missing(wanted, folder, patience)
                for made in wanted.made:
                    _make(made, folder)
                write_record(folder, wanted.source, only=wanted.names)
    _logger.info("%s is complete", folder)
    return folder


def _refuse_another(wanted: PublishedSet, folder: Path) -> None:
    """A model and a data set may have folders of the same name; the record of one says so."""
    record = read_record(folder)
    if record is not None and "uri" not in record["source"]:
        held = record["source"].get("repository", "something else")
        raise FolderError(
            f"{folder} holds {held}, not the data set {wanted.name}",
            "Move it away, or set LAB_DATASET to another folder.",
        )


def _fetch_missing(wanted: PublishedSet, folder: Path, patience: Patience | None) -> None:
    published: R2Folder | None = None
    for file in wanted.files:
        if not _is_there(folder / file.name, file.md5):
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
        raise DatasetError(f"{path} is no file", _AWAY)
    return path.exists()


def _fetch_one(published: R2Folder, file: PublishedFile, folder: Path, patience: Patience | None) -> None:
    name, right = file.published_name, file.published_digest
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
        while block := source.read(_BLOCK_BYTES):
            target.write(block)
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
        raise HostError(f"{packed} is no whole gzip file: {error}") from error


def _make(made: MadeFile, folder: Path) -> None:
    """Make a file; one that is there already must be the same."""
    source, destination = folder / made.source, folder / made.name
    part = destination.with_name(f"{destination.name}.part")
    is_there = _exists(destination)
    require_space(folder, source.stat().st_size)
    with disk_errors(destination):
        made.make(source, part)
    if is_there and sha256(destination) != sha256(part):
        part.unlink()
        raise DatasetError(f"{destination} is not what is made of {source.name}", _AWAY)
    part.replace(destination)
    _logger.info("%s: made of %s", destination, source.name)
