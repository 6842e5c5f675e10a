"""MLCommons' public storage: a `.uri` file says where a data set lies, the `.md5` file beside it what it has.

The two files are the whole protocol of MLCommons' own downloader (mlcommons/r2-infra @5d77ea6e, README.md,
section Metadata Files): the `.uri` file holds the URL of a folder, the `.md5` file one line per file, an MD5
and a path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from harness_llm.errors import ConfigError, HostError
from harness_llm.fetch.digest import Digest
from harness_llm.fetch.http import Patience, download, read_text

_MD5_LINE = re.compile(r"([0-9a-f]{32})[ \t]+\*?(?:\./)?(\S.*)")


@dataclass(frozen=True)
class R2Folder:
    """One published folder.

    Attributes:
        url: URL of the folder, without a slash at its end.
        files: MD5 of each file, by its path in the folder.
    """

    url: str
    files: Mapping[str, Digest]

    def fetch(self, name: str, destination: Path, *, patience: Patience | None = None) -> None:
        """Download one file, resumed and checked, to `destination`.

        Raises:
            HostError: The folder does not hold it, or the download failed.
        """
        if name not in self.files:
            raise HostError(f"{self.url} does not list {name}", f"It lists {', '.join(sorted(self.files))}.")
        download(f"{self.url}/{quote(name)}", destination, self.files[name], patience=patience)


def read_folder(uri: str, *, patience: Patience | None = None) -> R2Folder:
    """Read the two metadata files of a published folder.

    Args:
        uri: URL of the `.uri` file.
        patience: How long failures are borne.

    Raises:
        ConfigError: `uri` is no URL of a `.uri` file.
        HostError: The files cannot be read, or hold something else.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.path.endswith(".uri"):
        raise ConfigError(
            f"{uri} is not the URL of a .uri file", "Give one as https://HOST/metadata/NAME.uri."
        )
    url = read_text(uri, patience=patience).strip().rstrip("/")
    if urlsplit(url)[:2] != parts[:2]:
        raise HostError(f"{uri} points to {url[:100]!r}, which is not a folder of {parts.netloc}")
    md5_url = uri.removesuffix(".uri") + ".md5"
    return R2Folder(url, _parse_md5(md5_url, read_text(md5_url, patience=patience)))


def _parse_md5(source: str, text: str) -> dict[str, Digest]:
    files: dict[str, Digest] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _MD5_LINE.fullmatch(line.rstrip())
        if match is None or PurePosixPath(match[2]).is_absolute() or ".." in PurePosixPath(match[2]).parts:
            raise HostError(f"{source}, line {number}: {line[:100]!r} is not an MD5 and a relative path")
        files[match[2]] = Digest("md5", match[1])
    if not files:
        raise HostError(f"{source} lists no files")
    return files
