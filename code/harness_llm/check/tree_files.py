"""Checks of every file in a tree: plain, of a legal size and name, and text where its name says so."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from harness_llm import rules
from harness_llm.check.model import Check
from harness_llm.files import read_regular

_TEXT_SUFFIXES = {".txt", ".md", ".json", ".conf", ".config", ".yaml", ".yml", ".adoc", ".csv", ".sh", ".py"}
_JUNK_NAMES = {"__pycache__", "Thumbs.db"}
_JUNK_SUFFIXES = (".pyc", "~", ".swp", ".tmp", ".orig", ".bak")
_LONGEST_PATH = 240  # Windows checkouts of the results repository
_MOST_FILES = 200_000
_CHUNK = 1 << 20
_REPOSITORY = "mlcommons/inference @b66003e1 tools/submission/repository_checks.sh"
_NOTES = frozenset({"files.names", "files.encoding", "files.leftovers"})  # useful to know, asked by no rule
_CATEGORIES = {
    "files.links": ("no symbolic link", "Put the file itself there."),
    "files.plain": ("plain files and folders only", "Remove it."),
    "files.size": ("no file above the limit", "Leave it out, or cut it as the rules allow."),
    "files.encoding": ("UTF-8 text", ""),
    "files.blanks": ("names without blanks or control characters", "Rename it."),
    "files.names": ("names that every file system takes: short, unique without case", ""),
    "files.hidden": ("no name that begins with a dot", "Remove it, or rename it."),
    "files.leftovers": ("no editor, cache or version-control files", ""),
    "files.empty-folders": ("no empty folder", "Remove it: git does not keep it."),
    "files.readable": ("everything readable", "Give read permission, or remove it."),
}


def file_checks(root: Path) -> Iterator[Check]:
    """One check for each kind of fault, naming the first files that have it."""
    faults: dict[str, list[str]] = defaultdict(list)
    count = 0
    for path in _walk(root, faults):
        count += 1
        if count > _MOST_FILES:
            faults["files.size"].append(f"more than {_MOST_FILES} files")
            break
        for category, text in _faults(path, root):
            faults[category].append(text)
    limit = rules.table().run.max_file_bytes
    for category, (required, remedy) in _CATEGORIES.items():
        found = faults[category]
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        yield Check(
            category,
            not found or (None if category in _NOTES else False),
            "; ".join(found[:5]) + more if found else f"{count} files",
            required,
            rules.expand_source(limit.source) if category == "files.size" else _REPOSITORY,
            remedy if found else "",
            str(found[0]).partition(": ")[0] if found else "",
        )


def folders(folder: Path) -> list[Path]:
    """Folders inside a folder, links and hidden ones left out, in order; empty where it cannot be read."""
    try:
        return sorted(
            entry
            for entry in folder.iterdir()
            if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith(".")
        )
    except (OSError, ValueError):
        return []


def _walk(root: Path, faults: dict[str, list[str]]) -> Iterator[Path]:
    """Every file and link below `root`, links not followed; folders that cannot be read are faults."""

    def refused(error: OSError) -> None:
        place = Path(os.fsdecode(error.filename or root))
        faults["files.readable"].append(f"{_shown(place, root)}: {error.strerror}")

    for folder, folders, names in os.walk(root, onerror=refused, followlinks=False):
        place = Path(folder)
        lowered: dict[str, str] = {}
        for name in sorted((*folders, *names)):
            if lowered.setdefault(name.lower(), name) != name:
                faults["files.names"].append(f"{_shown(place / name, root)}: as {lowered[name.lower()]}")
            if name.startswith("."):
                faults["files.hidden"].append(_shown(place / name, root))
            elif name in _JUNK_NAMES or name.endswith(_JUNK_SUFFIXES):
                faults["files.leftovers"].append(_shown(place / name, root))
            if category := _bad_name(name):
                faults[category].append(_shown(place / name, root))
        if not folders and not names and place != root:
            faults["files.empty-folders"].append(_shown(place, root))
        yield from (place / name for name in folders if (place / name).is_symlink())
        yield from (place / name for name in names)


def _faults(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    shown = _shown(path, root)
    try:
        status = path.lstat()
    except (OSError, ValueError) as error:
        yield "files.readable", f"{shown}: {error}"
        return
    if stat.S_ISLNK(status.st_mode):
        yield "files.links", shown
        return
    if not stat.S_ISREG(status.st_mode):
        yield "files.plain", shown
        return
    if len(shown) > _LONGEST_PATH:
        yield "files.names", shown
    limit = int(rules.table().run.max_file_bytes.value)
    if status.st_size > limit:
        yield "files.size", f"{shown}: {status.st_size} bytes, limit {limit}"
    elif path.suffix.lower() in _TEXT_SUFFIXES:
        yield from _text_faults(path, shown)


def _text_faults(path: Path, shown: str) -> Iterator[tuple[str, str]]:
    try:
        content = read_regular(path)
    except OSError as error:
        yield "files.readable", f"{shown}: {error.strerror}"
        return
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        yield "files.encoding", f"{shown}: byte {error.start}"
        return
    if b"\0" in content:
        yield "files.encoding", f"{shown}: holds a zero byte"
    elif content.startswith(b"\xef\xbb\xbf"):
        yield "files.encoding", f"{shown}: begins with a byte order mark"


def _bad_name(name: str) -> str:
    """The category of what is wrong with a name; empty where nothing is."""
    if not name.isprintable() or any(char.isspace() for char in name):
        return "files.blanks"
    return "files.names" if any(char in '<>:"|?*\\' for char in name) else ""


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
