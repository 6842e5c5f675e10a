"""Records read back: strictly, where a damaged one is an error, or tolerantly, where it is data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness_llm.errors import FolderError
from harness_llm.files import write_atomically
from harness_llm.logs.source import read_text
from harness_llm.results.record_base import Record
from harness_llm.results.records import FORMAT
from harness_llm.secret_values import masked_document

_Kind = TypeVar("_Kind", bound=Record)

_REMEDY = "List everything that is wrong there with `harness-llm check`, or run it again."
_SHOWN_CHARACTERS = 60


def write_record(path: Path, record: Record) -> None:
    """Replace a record in one step.

    Raises:
        HostError: The disk said no.
    """
    write_atomically(path, as_json(record))


def as_json(document: object) -> bytes:
    """Indented JSON with a line end, without secrets; what JSON has no form for becomes text."""
    plain = masked_document(msgspec.to_builtins(document, enc_hook=str))
    return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"


def read_record(path: Path, kind: type[_Kind], remedy: str = _REMEDY) -> _Kind:
    """Read a record that must be there and sound.

    Args:
        path: Its file.
        kind: What it holds.
        remedy: What to do if it is missing or damaged.

    Raises:
        FolderError: It is missing, damaged, or of a newer version; names file, key and what was found.
    """
    record, problems = sound_record(path, kind)
    if record is None or problems:
        raise FolderError(f"{path}: {problems[0]}", remedy)
    return record


def sound_record(path: Path, kind: type[_Kind]) -> tuple[_Kind | None, tuple[str, ...]]:
    """Read what is sound of a record, whatever the file holds.

    Returns:
        The record, `kind.blank()` for each key that is missing or wrong, and what is wrong, a sentence each;
        None for a file that holds no JSON object.
    """
    text, problem = read_text(path)
    if problem:
        return None, (str(problem),)
    try:
        document = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return None, (f"not JSON: {error}",)
    if not isinstance(document, dict):
        return None, (f"expected a JSON object, found {_shown(document)}",)
    problems: list[str] = []
    record = _sound(document, kind.blank(), "", problems)
    return record, tuple(problems)


def _sound(document: dict[str, Any], blank: _Kind, prefix: str, problems: list[str]) -> _Kind:
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(blank)):
        name, key = field.name, prefix + field.name
        if name == "format":
            problems += _format_problems(document.get(name))
            continue
        if name not in document:
            problems += [f"{key}: is missing"] if field.required else []
            continue
        value, standard = document[name], getattr(blank, name)
        if isinstance(standard, Record) and isinstance(value, dict):
            found[name] = _sound(value, standard, f"{key}.", problems)
            continue
        try:
            found[name] = msgspec.convert(value, field.type)
        except (msgspec.ValidationError, RecursionError) as error:
            problems.append(f"{key}: {error}; found {_shown(value)}")
    return msgspec.structs.replace(blank, **found)  # of the present format, whatever it was


def _format_problems(found: object) -> list[str]:
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        return [f"format: expected 1 to {FORMAT}, found {_shown(found)}"]
    if found > FORMAT:
        return [f"format: {found} is of a newer version of this harness; this one reads up to {FORMAT}"]
    return []


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
