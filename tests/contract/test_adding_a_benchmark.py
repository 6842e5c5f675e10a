"""docs/adding-a-benchmark.md, followed to the letter in a copy of models/ and of the table."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fetch_command import main
from own_benchmark import Setup

from harness_llm import rules
from harness_llm.benchmark import all_datasets, all_facts, catalogue, resolve
from harness_llm.core import Scenario
from harness_llm.errors import ConfigError
from harness_llm.fetch import named
from harness_llm.rules import access
from harness_llm.run.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness_llm.fetch.hub import HubModel

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-benchmark.md").read_text()
NAME = "llama3.1-8b-edge"


def _block(before: str) -> str:
    """The code block that follows a line of the page."""
    found = re.search(rf"{re.escape(before)}\n\n```\w*\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, before
    return found[1]


def _forget() -> None:
    for function in (all_facts, all_datasets, rules.table, rules.lookup, rules.conf_names):
        function.cache_clear()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of models/ and of the table, which everything reads."""
    shutil.copytree(catalogue.MODELS, tmp_path / "models")
    shutil.copy(access.TABLE, tmp_path / "table.yaml")
    monkeypatch.setattr(catalogue, "MODELS", tmp_path / "models")
    monkeypatch.setattr(access, "TABLE", tmp_path / "table.yaml")
    _forget()
    yield tmp_path
    monkeypatch.undo()
    _forget()


@pytest.fixture
def added(copy: Path) -> Path:
    """The copy after steps 1 and 2."""
    folder = copy / "models" / NAME
    folder.mkdir()
    (folder / "benchmark.yaml").write_text(_block(f"`models/{NAME}/benchmark.yaml`:"))
    text = (copy / "table.yaml").read_text()
    row = _block("`rules/table.yaml`:")
    text = text.replace("\nbenchmarks:\n", f"\nbenchmarks:\n{row}")
    for name in (NAME, "llama3_1-8b-edge"):
        text = re.sub(rf"(?<=[\[ ]){re.escape(name)}(?:, |(?=\]))", "", text)
    (copy / "table.yaml").write_text(text)
    _forget()
    return copy


def test_without_the_two_steps_the_name_is_refused(copy: Path) -> None:
    with pytest.raises(ConfigError):
        resolve("llama3_1-8b-edge")
    assert not resolve(NAME).is_official


def test_one_file_and_one_row_make_it_official(added: Path) -> None:
    found = resolve("llama3_1-8b-edge")
    assert found.rules == resolve(NAME).rules and found.note and not resolve(NAME).note
    assert (found.name, found.round) == (NAME, "v6.1")
    assert resolve("LLAMA-3.1-8B-instruct-edge").name == NAME
    assert found.end_tokens == {128001, 128008, 128009} and len(found.gates) == 4
    assert found.loadgen_model(Scenario.OFFLINE) == "llama3_1-8b-edge"
    table = yaml.safe_load((added / "table.yaml").read_text())
    assert not [row for row in table["other_benchmarks"].values() if NAME in row["names"]]
    assert all(re.fullmatch(r"\w+:[\d,-]+(; ?\w+:[\d,-]+)*", source) for source in _sources(table, NAME))


def _sources(table: dict[str, Any], name: str) -> list[str]:
    found = re.findall(r"'(?:conf_)?source': '([^']*)'", repr(table["benchmarks"][name]))
    assert len(found) > 8
    return found


def test_it_prepares_against_loadgens_own_numbers(added: Path) -> None:
    setup = Setup(added)
    setup.conf.write_text(_block("user.conf needs the rate, under LoadGen's name:"))
    config = setup.config("Offline", benchmark=NAME)
    prepared = prepare([config], ["performance", "accuracy"])
    assert prepared.benchmark.is_official and prepared.benchmark.name == NAME
    assert [test.loadgen_model for test in prepared.tests] == ["llama3_1-8b-edge"] * 2
    assert any("the rules of" in note and "5000 samples" in note for note in prepared.notes), prepared.notes
    wrong = (added / "table.yaml").read_text().replace("{performance: 5000", "{performance: 5001")
    (added / "table.yaml").write_text(wrong)
    _forget()
    with pytest.raises(ConfigError, match="performance_sample_count_override = 5000"):
        prepare([config], ["performance"])


def test_its_model_and_data_can_be_fetched(added: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def hub(model: HubModel, root: Path, **_: object) -> Path:
        asked.append(model.repository)
        return root / model.folder

    def published(wanted: Any, root: Path, **_: object) -> Path:
        asked.append(wanted.uri)
        return root / wanted.folder

    monkeypatch.setattr(named, "fetch_hub_model", hub)
    monkeypatch.setattr(named, "fetch_published", published)
    command = re.search(r"`harness-llm fetch (.*?)`", PAGE)
    assert command is not None
    assert main(command[1].split(), {"LAB_MODEL": str(added), "LAB_DATASET": str(added)}) == 0
    assert len(asked) == 2 and asked[1] == "meta-llama/Llama-3.1-8B-Instruct"
