"""Options and arguments that several verbs share, and how what they hold is checked."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness_llm.errors import ConfigError, FolderError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness_llm.config.harness import RunConfig


Configs = Annotated[
    list[Path],
    typer.Option("--config", "-c", help="Harness YAML file; one for each scenario.", show_default=False),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override, e.g. --set llm_config.max_num_seqs=64; may be repeated."),
]
Tests = Annotated[
    list[str] | None,
    typer.Option(
        "--test",
        help="performance, accuracy, or a compliance test such as TEST06; may be repeated. Without it: "
        "performance and accuracy.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout instead of text.")]
RunDirectory = Annotated[Path, typer.Argument(help="Run folder, as `run` printed it.", show_default=False)]
RoundName = Annotated[
    str | None, typer.Option("--round", help="Round of the rules, e.g. v6.1. Without it: the latest.")
]


class Division(StrEnum):
    """A division of MLPerf that one host can submit to."""

    CLOSED = "closed"
    OPEN = "open"


class ViewStyle(StrEnum):
    """How a run is shown while it runs; errors and the result are always written."""

    AUTO = "auto"
    RICH = "rich"
    PLAIN = "plain"
    NONE = "none"


def read_configs(paths: Sequence[Path], overrides: Sequence[str] | None) -> list[RunConfig]:
    """Every harness YAML file, with the overrides applied to each.

    Raises:
        ConfigError: A file, a key or a value is wrong.
    """
    from harness_llm.config.load import load_to_run

    return [load_to_run(path, overrides or ()) for path in paths]


def places_in(paths: Sequence[Path], overrides: Sequence[str] | None) -> list[Callable[[str], str]]:
    """Of every harness YAML file, a function that says where a dotted key is written.

    Raises:
        ConfigError: A file, a key or a value is wrong.
    """
    from harness_llm.config.load import load_with_places

    return [load_with_places(path, overrides or ())[1] for path in paths]


def known_round(name: str | None) -> str:
    """The round to go by.

    Raises:
        ConfigError: The rules have no such round.
    """
    from harness_llm import rules

    if name is not None and name not in rules.rounds():
        raise ConfigError(f"--round {name}: not a known round", f"Give one of {', '.join(rules.rounds())}.")
    return name or rules.LATEST_ROUND


def existing(folder: Path) -> Path:
    """The folder.

    Raises:
        FolderError: There is none.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder", "Give a folder that `harness-llm` printed.")
    return folder
