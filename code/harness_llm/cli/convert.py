"""`harness-llm convert`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness_llm.cli.options import AsJson  # noqa: TC001 - typer reads the annotations at run time
from harness_llm.cli.output import print_json, print_text
from harness_llm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness_llm.config.convert import Converted
    from harness_llm.config.convert_notes import Weight


def convert_verb(
    files: Annotated[
        list[Path], typer.Argument(help="Harness YAML files of AMD's form.", show_default=False)
    ],
    output: Annotated[Path, typer.Option(help="Folder for the files in our form.")] = Path("converted"),
    replace: Annotated[
        bool, typer.Option("--replace", help="Write over what an earlier call wrote.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write harness YAML files of AMD's form (v5.0 to v6.0) in ours, and say what became of each key."""
    from harness_llm.config.convert import convert

    done: dict[Path, Converted] = {}
    failed: list[str] = []
    for file in files:
        try:
            target = _target(output, file, done, replace=replace)
            done[target] = convert(file)
        except ConfigError as error:
            failed.append(str(error))
    for target, converted in done.items():
        failed += _written(target, converted)
    if as_json:
        print_json(
            {"converted": {str(path): _document(item) for path, item in done.items()}, "failed": failed}
        )
    else:
        print_text(_text(done))
    if failed:
        raise ConfigError("\n".join(failed))


def _target(output: Path, file: Path, taken: Mapping[Path, Converted], *, replace: bool) -> Path:
    target = output / file.name
    if target in taken:
        raise ConfigError(f"{file}: {target} is written from {taken[target].source}; convert it by itself")
    if target.exists() and (not replace or target.samefile(file)):
        raise ConfigError(f"{file}: {target} exists", "Pass --replace, or another folder with --output.")
    return target


def _written(target: Path, converted: Converted) -> list[str]:
    """Write one file and read it as `run` would; what is wrong with it then, a text each."""
    from harness_llm.config.load import load_config
    from harness_llm.errors import HostError
    from harness_llm.files import write_atomically

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(f"{target.parent}: cannot be made: {error.strerror}") from error
    write_atomically(target, converted.text())
    try:
        load_config(target)
    except ConfigError as error:
        return [f"{target}: written, but not yet good: {error}"]
    return []


def _document(converted: Converted) -> dict[str, Any]:
    notes = [
        {"weight": str(note.weight), "keys": list(note.keys), "said": note.said} for note in converted.notes
    ]
    return {"source": str(converted.source), "title": converted.title, "notes": notes}


def _text(done: Mapping[Path, Converted]) -> str:
    """What was written, then each note once, with the files that it is about where these are not all."""
    from harness_llm.config.convert_notes import Weight

    lines = [f"{item.source} -> {path}: {item.title}" for path, item in done.items()]
    about: dict[tuple[Weight, str], list[str]] = defaultdict(list)
    for path, item in done.items():
        for note in item.notes:
            about[note.weight, str(note)].append(path.name)
    heading, weights = "", list(Weight)
    for (weight, said), names in sorted(about.items(), key=lambda pair: weights.index(pair[0][0])):
        if weight != heading:
            lines.append(f"{weight}:")
            heading = weight
        lines.append(f"  {said}{_where(names, len(done))}")
    if done:
        lines.append(f"next: harness-llm prepare {' '.join(f'-c {path}' for path in list(done)[:3])}")
    return "\n".join(lines)


def _where(names: Sequence[str], count: int) -> str:
    return "" if len(names) == count else f" (in {len(names)} of {count} files, first {names[0]})"
