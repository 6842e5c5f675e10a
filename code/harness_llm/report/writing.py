"""The page as one file that asks no network, and its charts as pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import vl_convert

import harness_llm
from harness_llm.errors import HostError
from harness_llm.files import write_atomically
from harness_llm.report.content import RunContent, read_content
from harness_llm.report.words import clock, room

_PICTURE_SCALE = 2.0


@dataclass(frozen=True)
class WrittenReport:
    """What was written.

    Attributes:
        page: The file.
        size: Its bytes.
        pictures: Its charts, where they were asked for.
    """

    page: Path
    size: int
    pictures: tuple[Path, ...]


def write_report(runs: Sequence[Path], page: Path, pictures: Path | None = None) -> WrittenReport:
    """Write the page of some runs.

    Args:
        runs: Their folders.
        page: The file to write.
        pictures: Folder for each chart as PNG and SVG; None for none.

    Raises:
        FolderError: One of them is no run folder.
        HostError: The disk said no.
    """
    contents = [read_content(run) for run in runs]
    text = render(contents)
    write_atomically(page, text)
    written = [] if pictures is None else [path for run in contents for path in _pictures(run, pictures)]
    return WrittenReport(page, len(text.encode()), tuple(written))


def render(contents: Sequence[RunContent]) -> str:
    """The page as HTML, with its style, its scripts and Vega inside."""
    page = files(harness_llm) / "report" / "page"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (page / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clock": clock, "room": room}
    specs = {
        f"{number}-{test.scenario}-{name}": spec
        for number, run in enumerate(contents)
        for test in run.tests
        for name, spec in test.charts.items()
    }
    return environment.get_template("page.html").render(
        runs=contents,
        charts=specs,
        documents=[{**run.summary.to_json(), "run": str(run.path)} for run in contents],
        library=_library(),
    )


def _library() -> str:
    """Vega, Vega-Lite and their embedding, as the text of a script."""
    text = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its types ask for what has a default
    # A script ends where the page says so: of these two the first would end it, the second hide its end.
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _pictures(run: RunContent, folder: Path) -> list[Path]:
    written = []
    for test in run.tests:
        for name, spec in test.charts.items():
            stem = folder / run.path.resolve().name / f"{test.scenario}_{name}"
            try:
                stem.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise HostError(f"{stem.parent}: cannot be made: {error}") from error
            drawn: dict[str, Any] = {
                ".svg": vl_convert.vegalite_to_svg(json.dumps(spec)),
                ".png": vl_convert.vegalite_to_png(json.dumps(spec), scale=_PICTURE_SCALE),
            }
            for ending, content in drawn.items():
                path = stem.with_name(stem.name + ending)
                write_atomically(path, content)
                written.append(path)
    return written
