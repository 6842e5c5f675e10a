"""The document that says how data gets from the network to the accelerators, which closed asks for.

Source: mlcommons/inference_policies @ac93e89c inference_rules.adoc lines 450-456, which give it no file name.
"""

from __future__ import annotations

from pathlib import Path

_SUFFIXES = (".md", ".adoc", ".txt", ".pdf")
_LONGEST = 4 * 1024 * 1024  # bytes that are read of a document


def bandwidth_document(documentation: Path) -> Path | None:
    """The first document whose name or text speaks of bandwidth; None where there is none, or no folder."""
    try:
        return next((path for path in sorted(documentation.iterdir()) if _speaks_of_bandwidth(path)), None)
    except (OSError, ValueError):
        return None


def _speaks_of_bandwidth(path: Path) -> bool:
    """Whether a plain, non-empty document does; what cannot be opened does not."""
    if path.suffix not in _SUFFIXES or path.is_symlink() or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST)
    except OSError:
        return False
    return b"bandwidth" in start.lower() or (bool(start) and "bandwidth" in path.name.lower())
