"""One file over HTTP: resumed where it stopped, retried where that can help, checked against its digest."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from harness_llm.errors import HostError
from harness_llm.fetch.digest import Digest
from harness_llm.fetch.disk import disk_errors, require_space
from harness_llm.fetch.transfer import Transfer

_BLOCK_BYTES = 1 << 16  # what a cut connection loses at most
_TIMEOUT_SECONDS = (20, 60)  # to connect, and between two blocks
# Which answers may pass, and what Retry-After means. Attempts are counted here: from the last byte that came.
_RETRY = Retry(status_forcelist=(408, 425, 429, *range(500, 600)))
_SAME_AGAIN = "Check the network and run the same command again; it continues where it stopped."

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Patience:
    """How long failures are borne.

    Attributes:
        attempts: Failures in a row, without a byte between them, that end the transfer.
        pause_seconds: Pause after the first failure; doubled with each further one.
        longest_pause_seconds: A server that asks for a longer pause than this ends the transfer.
    """

    attempts: int = 5
    pause_seconds: float = 1.0
    longest_pause_seconds: float = 300.0


class _RetryError(Exception):
    """The attempt failed in a way that may pass; `pause` seconds were asked for, or None."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


def read_text(url: str, *, patience: Patience | None = None) -> str:
    """Fetch a small text file.

    Raises:
        HostError: The server cannot be reached, or does not give it.
    """
    return _patiently(url, patience or Patience(), lambda: _read_once(url))


def download(url: str, destination: Path, digest: Digest, *, patience: Patience | None = None) -> None:
    """Fetch a file to `destination`, which appears only once it is complete and has `digest`.

    What arrived before a failure stays in `<destination>.part` and is asked for no more.

    Raises:
        HostError: The server cannot be reached, refuses, or gives other bytes; or the disk is full.
    """
    part = destination.with_name(destination.name + ".part")
    for is_last in (False, True):
        _patiently(url, patience or Patience(), lambda: _append(url, part), part)
        found = digest.of(part)
        if found == digest:
            part.replace(destination)
            return
        # A part of an older version, or damaged on the way: once more from the start.
        part.unlink()
        if not is_last:
            _logger.warning("%s: %s arrived, %s is right; starting over", url, found, digest)
    raise HostError(
        f"{url}: downloaded twice with {found}; expected {digest}",
        "The file on the server is not the known one.",
    )


def _patiently(
    url: str, patience: Patience, attempt: Callable[[], _Result], part: Path | None = None
) -> _Result:
    failures = 0
    while True:
        before = _size(part)
        try:
            return attempt()
        except (_RetryError, requests.RequestException) as error:
            failures = 1 if _size(part) > before else failures + 1
            reason = str(error) if isinstance(error, _RetryError) else _reason(error)
            pause = patience.pause_seconds * 2 ** (failures - 1)
            asked = error.pause if isinstance(error, _RetryError) else None
            if failures >= patience.attempts:
                raise HostError(f"{url}: {reason}, {failures} times in a row", _SAME_AGAIN) from error
            if asked is not None and asked > patience.longest_pause_seconds:
                raise HostError(
                    f"{url}: {reason} and asks for a pause of {asked:.0f} s", _SAME_AGAIN
                ) from error
            pause = pause if asked is None else asked
            _logger.warning("%s: %s; again in %.0f s", url, reason, pause)
            time.sleep(pause)


def _read_once(url: str) -> str:
    with requests.get(url, timeout=_TIMEOUT_SECONDS, allow_redirects=False) as response:
        _refuse(url, response)
        return response.text


def _append(url: str, part: Path) -> None:
    """Ask for what is missing in `part` and append it; returns when all bytes are there."""
    start = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(
        url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS, allow_redirects=False
    ) as response:
        if response.status_code == 416:
            return  # nothing is missing; the digest decides
        _refuse(url, response)
        if start and not _continues(response, start):
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        if total is not None:
            require_space(part, total - start)
        with (
            disk_errors(part),
            part.open("ab" if start else "wb") as file,
            Transfer(part.name.removesuffix(".part"), total, start) as transfer,
        ):
            for block in response.iter_content(_BLOCK_BYTES):
                file.write(block)
                file.flush()
                transfer.advance(len(block))
    if total is not None and _size(part) < total:
        raise _RetryError(f"the connection was cut at {_size(part):,} of {total:,} bytes")


def _continues(response: requests.Response, start: int) -> bool:
    """Whether a reply is the rest that was asked for; a plain 200 is the whole file again."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return response.status_code == 206 and match is not None and int(match[1]) == start


def _refuse(url: str, response: requests.Response) -> None:
    status = response.status_code
    if _RETRY.is_retry("GET", status):
        raise _RetryError(f"the server answers {status} {response.reason}", _retry_after(response))
    if 300 <= status < 400:
        target = response.headers.get("Location", "")
        raise HostError(
            f"{url}: the server redirects to {target.split('?')[0] or 'nowhere'}",
            "The file needs a login (MLCommons members), or has moved." if "access/login" in target else "",
        )
    if status in (401, 403):
        raise HostError(
            f"{url}: the server refuses access ({status})", "See docs/download.md for other ways to it."
        )
    if status >= 400:
        raise HostError(
            f"{url}: the server answers {status} {response.reason}",
            "Nothing lies at this address: check it, or see docs/download.md for other ways to the file.",
        )


def _retry_after(response: requests.Response) -> float | None:
    """Seconds that the server asks to wait; None where it does not say, or not so that it can be read."""
    try:
        return _RETRY.get_retry_after(response.raw)
    except InvalidHeader:
        return None


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not trusted here"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    return "the server cannot be reached"


def _size(path: Path | None) -> int:
    return path.stat().st_size if path is not None and path.exists() else 0
