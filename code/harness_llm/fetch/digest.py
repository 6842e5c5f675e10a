"""Digests that a file must have, and how they are computed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Digest", "Hasher", "sha256"]

_BLOCK_BYTES = 1 << 20


class Hasher(Protocol):
    """What `hashlib` returns, as far as it is used here."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """The digest of all bytes so far, lower-case hexadecimal."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest that somebody published for a file.

    Attributes:
        algorithm: `md5`, `sha256` or `git-sha1` (git's name of a blob: SHA-1 over a header with the size,
            and the bytes).
        value: Lower-case hexadecimal.
    """

    algorithm: str
    value: str

    def __post_init__(self) -> None:
        assert self.algorithm in ("md5", "sha256", "git-sha1"), self.algorithm

    def __str__(self) -> str:
        return f"{self.algorithm} {self.value}"

    def hasher(self, size: int) -> Hasher:
        """An empty state of this algorithm, for a file of `size` bytes."""
        if self.algorithm == "git-sha1":
            return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        return hashlib.new(self.algorithm, usedforsecurity=False)

    def of(self, path: Path) -> Digest:
        """The digest that a file has, by the same algorithm."""
        return Digest(self.algorithm, _digest(path, self.hasher(path.stat().st_size)))

    def matches(self, path: Path) -> bool:
        """Whether a file has this digest."""
        return self.of(path) == self


def sha256(path: Path) -> str:
    """SHA-256 of a file, lower-case hexadecimal."""
    return _digest(path, hashlib.sha256())


def _digest(path: Path, state: Hasher) -> str:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            state.update(block)
    return state.hexdigest()
