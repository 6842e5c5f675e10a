"""A study's report: charts as pictures, and one page with them that needs no network and no script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import vl_convert

from harness_llm.files import write_atomically
from harness_llm.report.marks import Spec, whole
from harness_llm.study.estimates import readable

_SCALE = 2.0
_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>
body { font: 15px/1.45 system-ui, sans-serif; color: #1d2329; max-width: 72rem; margin: 1.5rem auto;
  padding: 0 1rem }
svg { max-width: 100%; height: auto } table { border-collapse: collapse; margin: .6rem 0 }
td, th { padding: .2rem .6rem; border-bottom: 1px solid #dde2e7; text-align: right; white-space: nowrap }
td:first-child, th:first-child { text-align: left }
.wide { overflow-x: auto } .charts { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: 1.5rem }
.charts > div { max-width: 100% } .mark { color: #c62828; font-weight: 600 }
</style></head><body>
<h1>{{ title }}</h1>
{% if marker %}<p class="mark">{{ marker }}</p>{% endif %}
{% for line in lines %}<p>{{ line }}</p>{% endfor %}
{% for table in tables %}<h2>{{ table.title }}</h2><div class="wide"><table><tr>
{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</table></div>
{% endfor %}
<div class="charts">{% for svg in drawings %}<div>{{ svg | safe }}</div>{% endfor %}</div>
</body></html>
"""


@dataclass(frozen=True)
class Figure:
    """A chart: the name of its file, and what is drawn, as Vega-Lite has it."""

    name: str
    spec: Spec


@dataclass(frozen=True)
class Grid:
    """A table for people; None is a cell in which nothing was measured."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def write_png(figure: Figure, folder: Path) -> Path:
    """Draw a chart as `<name>.png`."""
    path = folder / f"{figure.name}.png"
    write_atomically(path, vl_convert.vegalite_to_png(json.dumps(whole(figure.spec)), scale=_SCALE))
    return path


def write_page(
    path: Path,
    title: str,
    marker: str,
    lines: Sequence[str],
    tables: Sequence[Grid],
    figures: Sequence[Figure],
) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        title: Its heading.
        marker: What stands beside every number, e.g. `simulated, not a result`; may be empty.
        lines: What was found, a sentence each.
        tables: Its tables.
        figures: Its charts.
    """
    shown = [Grid(it.title, it.columns, [[_cell(cell) for cell in row] for row in it.rows]) for it in tables]
    drawings = [vl_convert.vegalite_to_svg(json.dumps(whole(figure.spec))) for figure in figures]
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_PAGE)
    text = template.render(title=title, marker=marker, lines=lines, tables=shown, drawings=drawings)
    write_atomically(path, text)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return readable(value) if isinstance(value, float) else str(value)
