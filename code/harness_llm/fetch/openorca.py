"""The official data of llama2-70b: 24,576 tokenized OpenOrca prompts, and the set for calibration."""

from __future__ import annotations

import contextlib
import gzip
import logging
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness_llm.errors import DatasetError, HostError
from harness_llm.fetch.digest import Digest
from harness_llm.fetch.folder import disk_errors, exclusive, is_fetched, require_space, write_record
from harness_llm.fetch.r2 import read_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness_llm.fetch.http import Patience
    from harness_llm.fetch.r2 import R2Folder

__all__ = ["OPENORCA_FILES", "OPENORCA_FOLDER", "OPENORCA_URI", "PublishedFile", "fetch_openorca"]

OPENORCA_URI = "https://inference.mlcommons-storage.org/metadata/llama-2-70b-open-orca-dataset.uri"
OPENORCA_FOLDER = "processed-openorca"
_BLOCK_BYTES = 1 << 20

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedFile:
    """A file that is published gzipped.

    Attributes:
        name: Its name, unpacked; the published name has `.gz` after it.
        packed_md5: MD5 of the gzipped file.
        md5: MD5 of the file itself; None where nobody published one, and then `packed_md5` vouches for it.
        size: Bytes that it takes unpacked, roughly: what is asked of the disk before unpacking.
    """

    name: str
    packed_md5: str
    md5: str | None
    size: int


# MD5 of the packed files: mlcommons/r2-infra @5d77ea6e, inference/metadata/llama-2-70b-open-orca-dataset.md5.
# MD5 of the 24,576 samples: mlcommons/inference issue 1636. That folder's other files, 366 MB of reference
# outputs and logs, are not needed.
OPENORCA_FILES = (
    PublishedFile(
        "open_orca_gpt4_tokenized_llama.sampled_24576.pkl",
        "c247a315b9328365f66d2c2585b35cd4",
        "5fe8be0a7ce5c3c9a028674fd24b00d5",
        200_000_000,
    ),
    PublishedFile(
        "open_orca_gpt4_tokenized_llama.calibration_1000.pkl",
        "d04917e08afb675640c9d7a5bb9b5e2a",
        None,
        10_000_000,
    ),
)


def fetch_openorca(
    root: Path,
    *,
    uri: str = OPENORCA_URI,
    files: Sequence[PublishedFile] = OPENORCA_FILES,
    patience: Patience | None = None,
    rehash: bool = False,
) -> Path:
    """Get the data set into `root`/processed-openorca, or find it there.

    Args:
        root: Folder of data sets.
        uri: Where the metadata lies.
        files: What to get.
        patience: How long failures are borne.
        rehash: Hash files that are there already, even where nothing about them changed.

    Returns:
        The folder.

    Raises:
        DatasetError: A file there already, under the right name, is another one.
        HostError: The download failed; what has arrived stays, and the next call goes on from it.
    """
    folder = root / OPENORCA_FOLDER
    source = {"uri": uri, "packed_md5": {file.name: file.packed_md5 for file in files}}
    with exclusive(folder):
        if is_fetched(folder, source, rehash=rehash):
            _logger.info("%s is complete", folder)
            return folder
        published: R2Folder | None = None
        for file in files:
            if _is_there(folder, file):
                continue
            published = published or read_folder(uri, patience=patience)
            _fetch_one(published, file, folder, patience)
        write_record(folder, source)
    return folder


def _is_there(folder: Path, file: PublishedFile) -> bool:
    """Whether the unpacked file is there and right, however it came."""
    path = folder / file.name
    if not path.exists() or file.md5 is None:
        return False
    found = Digest("md5", file.md5).of(path)
    if found.value != file.md5:
        raise DatasetError(
            f"{path} has {found}, the official file has md5 {file.md5}", "Move it away and run again."
        )
    _logger.info("%s is there, with the official md5", path)
    return True


def _fetch_one(published: R2Folder, file: PublishedFile, folder: Path, patience: Patience | None) -> None:
    packed = folder / f"{file.name}.gz"
    right = Digest("md5", file.packed_md5)
    if published.files.get(packed.name, right) != right:
        raise HostError(
            f"{published.url} publishes {packed.name} with {published.files[packed.name]}, known is {right}",
            "The official data set has changed: find out why before you use either.",
        )
    if not (packed.exists() and right.matches(packed)):
        published.fetch(packed.name, packed, patience=patience)
    require_space(folder, file.size)
    _unpack(packed, folder / file.name, file.md5)
    packed.unlink()


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
