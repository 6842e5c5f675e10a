"""A run whose engine was a server that others keep: what a tree says of it, and that closed refuses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_maker import Maker

from harness_llm.check import check_tree
from harness_llm.engines.openai import OpenAI
from harness_llm.errors import FolderError
from harness_llm.results.paths import FACTS_JSON, replica_folder

SERVER = {"name": "openai", "version": "server vllm 1.2, model tiny", "is_simulated": False}


@pytest.fixture
def run(maker: Maker) -> Path:
    run = maker.run()
    for scenario in ("Offline", "Server", "Interactive"):
        folder = replica_folder(run, scenario, 0)
        folder.mkdir(parents=True)
        (folder / FACTS_JSON).write_text(json.dumps(SERVER))
    return run


def test_closed_refuses_an_engine_whose_caching_nobody_knows(maker: Maker, run: Path) -> None:
    with pytest.raises(
        FolderError, match=r"decoding\.reuses: found not known; the rules: When a KV-cache is used"
    ):
        maker.package(run, division="closed")
    assert not (maker.path / "out" / "inference_results_v6.1").exists()


def test_open_takes_it_and_says_it_beside_every_number(maker: Maker, run: Path) -> None:
    result = maker.package(run, division="open")
    for place in result.results:
        readme = (place / "README.md").read_text()
        assert f"**{OpenAI.marker}.**" in readme
        rows = [line for line in readme.split("| figure | value |")[1].splitlines() if line.startswith("| ")]
        assert len(rows) > 3 and all("(engine openai" in row for row in rows[1:4])
        assert OpenAI.marker in (place / "user.conf").read_text()
        assert OpenAI.marker in json.loads((place / "measurements.json").read_text())["notice"]
    (system,) = (result.tree / "open/Org/systems").glob("*.json")
    described = json.loads(system.read_text())
    assert OpenAI.marker in described["sw_notes"] and "PyTorch" not in described["framework"]


def test_what_the_server_is_stands_as_the_framework_unless_the_submitter_says_more(
    maker: Maker, run: Path
) -> None:
    stated = maker.system.read_text()
    assert "framework: vLLM" in stated
    maker.system.write_text(stated.replace("framework: vLLM", "framework:"))
    (system,) = (maker.package(run, division="open").tree / "open/Org/systems").glob("*.json")
    assert json.loads(system.read_text())["framework"] == "openai server vllm 1.2, model tiny"


def test_the_check_of_the_tree_finds_the_mark(maker: Maker, run: Path) -> None:
    tree = maker.package(run, division="open").tree
    found = [check for check in check_tree(tree, "v6.1").checks if check.name == "tree.engine"]
    assert found and all(check.passed is None and OpenAI.marker in check.found for check in found)
