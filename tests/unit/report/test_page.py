"""The page as it is written: what it says, and that it asks nobody for anything."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from golden.run_folder import build_run
from synthetic_run import Plan, write_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]

pytest.importorskip("vl_convert", reason="vl-convert-python is not installed (extra report)")

MOST_BYTES = 2_000_000


@dataclass
class Page(HTMLParser):
    """A page taken apart.

    Attributes:
        numbers: Each number that `show --json` has too: its place there, its value, and its text.
        scripts: Text of each script by its id.
        text: All that people read.
        links: Addresses that a browser would ask for.
    """

    numbers: list[tuple[str, object, str]] = field(default_factory=list)
    scripts: dict[str, str] = field(default_factory=dict)
    text: str = ""
    links: list[str] = field(default_factory=list)
    _open: dict[str, str | None] | None = None
    _script: str | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "data":
            self._open = named
        if tag in ("script", "style"):
            self._script = named.get("id") or f"{tag}_{len(self.scripts)}"
        self.links += [value for key, value in attrs if key in ("src", "href", "srcset") and value]

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        elif self._open is not None:
            key, value = self._open["data-key"], self._open["value"]
            assert key is not None and value is not None
            self.numbers.append((key, json.loads(value), data))
            self._open = None
        else:
            self.text += data + " "


def taken_apart(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with stalls on two replicas, and one with accuracy tests and an INVALID scenario."""
    folder = tmp_path_factory.mktemp("runs")
    tests = {
        "Offline/performance": "toy-offline-valid", "Offline/accuracy": "toy-offline-accuracy",
        "Server/performance": "toy-server-one-over", "Server/accuracy": "toy-server-accuracy",
    }  # fmt: skip
    stalled = Plan(stalls=((100.0, 4.0), (400.0, 7.0)), replicas=2, qps=16.0, queries=9600)
    return write_run(folder / "stalled", stalled), build_run(folder / "recorded", tests)


@pytest.fixture(scope="module")
def page(runs: tuple[Path, Path]) -> Path:
    from harness_llm.report.writing import write_report

    written = write_report(runs, runs[0].parent / "report.html")
    assert written.size == written.page.stat().st_size < MOST_BYTES
    return written.page


def test_every_chart_is_drawn_as_png_and_svg(tmp_path: Path) -> None:
    from harness_llm.report.writing import write_report

    run = write_run(tmp_path / "run", Plan(queries=400, replicas=2))
    pictures = write_report([run], tmp_path / "report.html", tmp_path / "charts").pictures
    names = {path.name for path in pictures}
    for chart in ("time", "ttft_distribution", "ttft_by_arrival", "tpot_by_answer", "lengths", "replicas"):
        assert {f"Server_{chart}.png", f"Server_{chart}.svg"} <= names
    for picture in pictures:
        start = picture.read_bytes()[:200]
        assert start.startswith(b"\x89PNG" if picture.suffix == ".png" else b"<svg"), picture


def at(document: Any, key: str) -> object:
    for part in key.split("."):
        document = document[int(part) if isinstance(document, list) else part]
    return document


def test_every_number_is_that_of_show(page: Path, runs: tuple[Path, Path], command: Command) -> None:
    shown = [json.loads(command("show", run, "--json")[1]) for run in runs]
    taken = taken_apart(page)
    assert len(taken.numbers) >= 12
    for key, value, text in taken.numbers:
        assert value == at(shown, key), key
        assert float(text.replace(",", "")) == pytest.approx(value, rel=0.005, abs=0.05), (key, text)
    assert json.loads(taken.scripts["summary"]) == shown
    keys = {key for key, _, _ in taken.numbers}
    for number, document in enumerate(shown):
        for place, row in enumerate(document["scenarios"]):
            for name in ("tokens_per_s", "ttft_p99_ms", "tpot_p99_ms", "samples"):
                assert row[name] is None or f"{number}.scenarios.{place}.{name}" in keys, name


def test_the_verdict_comes_first_with_its_reasons_and_what_to_do(page: Path) -> None:
    text = re.sub(r"\s+", " ", taken_apart(page).text)
    assert "INVALID" in text and "LoadGen says INVALID" in text and "What to do" in text
    assert text.index("VALID") < text.index("where the time went") < text.index("Configuration")


def test_stalls_and_what_the_engine_changed_are_told(page: Path) -> None:
    text = re.sub(r"\s+", " ", taken_apart(page).text)
    assert "Every replica stood still for 4." in text and "Every replica stood still for 7." in text
    assert "max_num_seqs 512 256" in re.sub(r"\W+", " ", text)
    assert "The 50 slowest samples" in text


def test_nothing_is_asked_of_a_network(page: Path) -> None:
    taken = taken_apart(page)
    assert taken.links == ["data:,"]
    assert "default-src 'none'" in page.read_text(encoding="utf-8")
    assert "url(" not in taken.scripts["style_0"] and "@import" not in taken.scripts["style_0"]


def test_what_a_run_says_is_text_and_never_markup(tmp_path: Path) -> None:
    from harness_llm.report.writing import write_report

    hostile = "</script><script>alert(1)</script><b>"
    run = write_run(tmp_path / "run", Plan(queries=200), benchmark=hostile, command=(hostile,))
    text = write_report([run], tmp_path / "report.html").page.read_text(encoding="utf-8")
    assert hostile not in text and "<script>alert" not in text
    assert json.loads(taken_apart(tmp_path / "report.html").scripts["summary"])[0]["benchmark"] == hostile


def test_a_test_that_measured_nothing_has_its_reason_on_the_page(tmp_path: Path) -> None:
    from harness_llm.report.writing import write_report

    run = write_run(tmp_path / "run", Plan(queries=200), state="broken", reason="the disk is full")
    (run / "Server" / "performance" / "events.npy").write_bytes(b"x")
    write_report([run], tmp_path / "report.html")
    text = taken_apart(tmp_path / "report.html").text
    assert "the disk is full" in text and "not an events file" in text


def test_a_browser_shows_it_at_every_width(page: Path) -> None:
    from docs.gallery import find_browser, look

    if find_browser() is None:
        pytest.skip("no Chromium in the PATH")
    looks = asyncio.run(look(page))
    assert set(looks) == {360, 800, 1600}
    for width, seen in looks.items():
        assert seen.is_good, (width, seen.console, seen.requests, seen.undrawn, seen.overflow)
        assert seen.picture.startswith(b"\x89PNG") and len(seen.picture) > 50_000


@pytest.mark.parametrize("verb", [["report", "run"], ["export", "run", "--parquet", "x.parquet"]])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    command: Command, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = command(*verb)
    assert code == 2 and "-m pip install" in err
    assert ("vl-convert-python" if verb[0] == "report" else "pyarrow") in err


def test_a_folder_without_a_run_is_refused(command: Command, tmp_path: Path) -> None:
    code, _, err = command("report", tmp_path)
    assert code == 2 and "no run folder" in err
    assert not (tmp_path / "report.html").exists()
