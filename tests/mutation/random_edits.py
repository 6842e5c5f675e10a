"""Edits of one number, one file, or one pair of files, each with a key that says what was edited."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mutation.places import Number, Places, place_of

CHANGES = ("up", "down", "double", "half", "ten times", "negative", "zero", "first digit", "last digit")
FILE_CHANGES = ("remove", "empty", "cut", "drop a line", "repeat a line", "swap lines")
PAIR_CHANGES = ("copy", "swap")


@dataclass(frozen=True)
class Edit:
    """A change to a tree.

    Attributes:
        key: What was edited, as the list of places without effect names it.
        shown: The edit for people.
        content: New bytes of each file that changes; None where it is removed.
    """

    key: str
    shown: str
    content: Mapping[Path, bytes | None]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The tree with the edit; as it was before, afterwards."""
        before = {path: path.read_bytes() for path in self.content}
        try:
            for path, content in self.content.items():
                if content is None:
                    path.unlink()
                else:
                    path.write_bytes(content)
            yield
        finally:
            for path, content in before.items():
                path.write_bytes(content)


def changed(text: str, how: str) -> str:
    """Another number in the same form; the same text where this change does nothing to it."""
    if text in ("true", "false"):
        return "false" if text == "true" else "true"
    if how in ("first digit", "last digit"):
        digits = [at for at, char in enumerate(text.partition("e")[0]) if char.isdigit()]
        at = digits[0 if how == "first digit" else -1] if digits else 0
        other = str((int(text[at], 16) + 3) % 10) if digits else "0"
        return text[:at] + other + text[at + 1 :]
    try:
        number: float = int(text)
    except ValueError:
        try:
            number = float(text)
        except ValueError:
            return text
    step = 1 if isinstance(number, int) else abs(number) * 1e-2
    made = {
        "up": number + step,
        "down": number - step,
        "double": number * 2,
        "half": number // 2 if isinstance(number, int) else number / 2,
        "ten times": number * 10,
        "negative": -number,
        "zero": 0,
    }[how]
    return str(made) if isinstance(number, int) else f"{made:.6g}"


def number_edit(places: Places, number: Number, how: str) -> Edit | None:
    """One number changed; None where the change changes nothing."""
    new = changed(number.text, how)
    if new == number.text or (new.lstrip("-").strip("0.") == number.text.lstrip("-").strip("0.") == ""):
        return None
    path = places.tree / number.path
    return Edit(
        number.key,
        f"{number.path}: {number.key} {number.text} -> {new}",
        {path: _with(path, [(number, new)])},
    )


def figure_edit(places: Places, pair: tuple[Number, Number], how: str) -> Edit | None:
    """The same figure changed in a detail log and in its summary."""
    one, other = pair
    if "digit" in how or float(changed(one.text, how)) == float(one.text):  # the two have other digits
        return None
    content = {
        places.tree / each.path: _with(places.tree / each.path, [(each, changed(each.text, how))])
        for each in pair
    }
    return Edit(f"both:{one.key}", f"{one.path}: {one.key} {one.text} {how}, and {other.key}", content)


def _with(path: Path, replacements: list[tuple[Number, str]]) -> bytes:
    text = path.read_text(errors="surrogateescape")
    for number, new in replacements:
        assert text.startswith(number.text, number.start), number
        text = text[: number.start] + new + text[number.start + len(number.text) :]
    return text.encode(errors="surrogateescape")


def file_edit(path: Path, how: str, at: float) -> Edit | None:
    """One file changed; `at` (0..1) chooses the line."""
    before = path.read_bytes()
    lines = before.splitlines(keepends=True)
    line = min(int(at * len(lines)), len(lines) - 1) if lines else 0
    key = f"{how}:{place_of(path)}"
    after: bytes | None = None
    if how == "empty":
        after = b""
    elif how == "cut":
        whole = before.rstrip()  # no line is cut that lacks its newline alone
        after = before[: int(at * len(whole))]
    elif how != "remove":
        if len(lines) < 2:
            return None
        key += f":{_label(lines[line])}"
        other = (line + 1) % len(lines)
        if how == "drop a line":
            del lines[line]
        elif how == "repeat a line":
            lines.insert(line, lines[line])
        else:
            lines[line], lines[other] = lines[other], lines[line]
        after = b"".join(lines)
    return None if after == before else Edit(key, f"{how} of {path}, at {at:.3f}", {path: after})


def _label(line: bytes) -> str:
    """The key of a log line, or what stands before the first colon."""
    text = line.decode(errors="replace")
    if text.startswith(":::MLLOG"):
        return text.partition('"key": "')[2].partition('"')[0]
    return text.partition(":")[0].strip()[:40]


def pair_edit(pair: tuple[Path, Path], how: str) -> Edit:
    """One file in the place of another of its name, or both in one another's."""
    one, other = pair
    content: dict[Path, bytes | None] = {other: one.read_bytes()}
    if how == "swap":
        content[one] = other.read_bytes()
    return Edit(f"{how}:{place_of(one)}:{place_of(other)}", f"{how} {one} to {other}", content)
