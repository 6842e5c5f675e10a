"""Digests that a file must have, and how they are computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness_llm.files import file_digest


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

    def of(self, path: Path) -> Digest:
        """The digest that a file has, by the same algorithm."""
        is_git = self.algorithm == "git-sha1"
        name = "sha1" if is_git else self.algorithm
        header = f"blob {path.stat().st_size}\0".encode() if is_git else b""
        return Digest(self.algorithm, file_digest(path, name, header))

    def matches(self, path: Path) -> bool:
        """Whether a file has this digest."""
        return self.of(path) == self
