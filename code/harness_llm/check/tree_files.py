"""Checks of every file in a tree: plain, of a legal size and name, and text where its name says so."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from harness_llm import rules
from harness_llm.check.judgement import Check
from harness_llm.files import open_regular

_TEXT_SUFFIXES = {".txt", ".md", ".json", ".conf", ".config", ".yaml", ".yml", ".adoc", ".csv", ".sh", ".py"}
_JUNK_NAMES = {"__pycache__", "Thumbs.db"}
_JUNK_SUFFIXES = (".pyc", "~", ".swp", ".tmp", ".orig", ".bak")
_LONGEST_PATH = 240  # Windows checkouts of the results repository
_MOST_FILES = 200_000
_LOOKED_AT = 2**18  # bytes of a text; a tree has gigabytes, and what is judged is read whole elsewhere
_REPOSITORY = "mlcommons/inference @b66003e1 tools/submission/repository_checks.sh"
_OLD_CHECKER = "mlcommons/inference @b66003e1 tools/submission/submission_checker_old.py"
_NOTES = frozenset(
    {"files.names", "files.encoding", "files.leftovers", "files.linked-source", "files.hidden-source"}
)  # useful to know, asked by no rule
# What is judged; all else in a submitter's folder is source, where names and links are its own.
_JUDGED = frozenset({"results", "measurements", "compliance", "systems", "documentation"})
_SECRETIVE = re.compile(r"\.(env|netrc|pgpass|npmrc|pypirc|ssh|aws|gnupg|kube|docker|git|huggingface)(\..*)?")
_CATEGORIES = {
    "files.links": (
        "no link that is broken, or stands for a judged file",
        "Put the file itself there.",
    ),
    "files.linked-source": ("files rather than links", ""),
    "files.plain": ("plain files and folders only", "Remove it."),
    "files.size": ("no file above the limit", "Leave it out, or cut it as the rules allow."),
    "files.encoding": ("UTF-8 text", ""),
    "files.blanks": ("names without blanks or control characters", "Rename it."),
    "files.names": ("names that every file system takes: short, unique without case", ""),
    "files.hidden": ("no name that begins with a dot", "Remove it, or rename it."),
    "files.hidden-source": ("no name that begins with a dot", ""),
    "files.leftovers": ("no editor, cache or version-control files", ""),
    "files.empty-folders": ("no empty folder", "Remove it: git does not keep it."),
    "files.readable": ("everything readable", "Give read permission, or remove it."),
}
_SOURCES = {
    "files.links": f"{_OLD_CHECKER} lines 2724-2738; {_REPOSITORY}",
    "files.hidden": f"{_OLD_CHECKER} lines 2757-2770; {_REPOSITORY}",
    "files.empty-folders": f"{_OLD_CHECKER} lines 2797-2807",
}


def file_checks(root: Path) -> Iterator[Check]:
    """One check for each kind of fault, naming the files that have it."""
    faults: dict[str, list[str]] = defaultdict(list)
    count = 0
    for entry, shown in _walk(root, faults):
        count += 1
        if count > _MOST_FILES:
            faults["files.size"].append(f"more than {_MOST_FILES} files")
            break
        for category, text in _faults(entry, shown):
            faults[category].append(text)
    limit = rules.table().run.max_file_bytes
    for category, (required, remedy) in _CATEGORIES.items():
        found = faults[category]
        yield Check(
            category,
            not found or (None if category in _NOTES else False),
            "; ".join(found) if found else f"{count} files",
            required,
            rules.expand_source(limit.source)
            if category == "files.size"
            else _SOURCES.get(category, _REPOSITORY),
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


def _walk(root: Path, faults: dict[str, list[str]]) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Every file and link below `root`, and its path as shown; folders that cannot be read are faults.

    Links are not followed. Names stay text: a tree has tens of thousands.
    """
    waiting = [(str(root), "")]
    while waiting:
        folder, below = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=_name)
        except OSError as error:
            faults["files.readable"].append(f"{below.rstrip('/') or root}: {error.strerror}")
            continue
        if not entries and below:
            faults["files.empty-folders"].append(below.rstrip("/"))
        lowered: dict[str, str] = {}
        for entry in entries:
            name, shown = entry.name, below + entry.name
            for category, text in _name_faults(name, shown, lowered):
                faults[category].append(text)
            if _is_folder(entry):
                waiting.append((entry.path, f"{shown}/"))
            else:
                yield entry, shown


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _name_faults(name: str, shown: str, lowered: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong with a name; `lowered` has its neighbours', in small letters."""
    if lowered.setdefault(name.lower(), name) != name:
        yield "files.names", f"{shown}: as {lowered[name.lower()]}"
    if name.startswith("."):
        is_source = not _is_judged(shown) and not _SECRETIVE.fullmatch(name)
        yield "files.hidden-source" if is_source else "files.hidden", shown
    elif name in _JUNK_NAMES or name.endswith(_JUNK_SUFFIXES):
        yield "files.leftovers", shown
    if category := _bad_name(name):
        yield category, shown


def _faults(entry: os.DirEntry[str], shown: str) -> Iterator[tuple[str, str]]:
    try:
        status = entry.stat(follow_symlinks=False)
    except (OSError, ValueError) as error:
        yield "files.readable", f"{shown}: {error}"
        return
    if stat.S_ISLNK(status.st_mode):
        is_source = not _is_judged(shown) and _leads_inside(entry.path, shown)
        yield "files.linked-source" if is_source else "files.links", shown
        return
    if not stat.S_ISREG(status.st_mode):
        yield "files.plain", shown
        return
    if len(shown) > _LONGEST_PATH:
        yield "files.names", shown
    limit = int(rules.table().run.max_file_bytes.value)
    if status.st_size > limit:
        yield "files.size", f"{shown}: {status.st_size} bytes, limit {limit}"
    elif os.path.splitext(entry.name)[1].lower() in _TEXT_SUFFIXES:  # noqa: PTH122 - see _walk
        yield from _text_faults(entry.path, shown, status.st_size)


def _is_judged(shown: str) -> bool:
    """Whether a path is one of what is judged: `closed/Org/results/...`."""
    parts = shown.split("/")
    return len(parts) < 3 or parts[2] in _JUDGED


def _leads_inside(link: str, shown: str) -> bool:
    """Whether a link is relative and points to something of the submitter's that does not contain it."""
    target, place = Path(link).readlink(), Path(link)
    try:
        found, above = place.resolve(strict=True), place.parent.resolve()
    except (OSError, RuntimeError, ValueError):
        return False
    submitter = place.parents[shown.count("/") - 2].resolve()
    return not target.is_absolute() and found.is_relative_to(submitter) and not above.is_relative_to(found)


def _text_faults(path: str, shown: str, size: int) -> Iterator[tuple[str, str]]:
    try:
        with open_regular(Path(path)) as file:
            content = file.read(min(size, _LOOKED_AT))  # of a buffer of that size
    except OSError as error:
        yield "files.readable", f"{shown}: {error.strerror}"
        return
    if content.isascii() and b"\0" not in content:
        return
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=size <= _LOOKED_AT)
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
