"""What a tree holds already stays, and is replaced only on request."""

from __future__ import annotations

import shutil

import pytest
from run_maker import Maker, files

from harness_llm.core import Scenario
from harness_llm.errors import FolderError


def test_a_merge_keeps_what_was_there(maker: Maker) -> None:
    first = maker.package(maker.run("a", scenarios=("Offline",)), division="closed")
    assert first.warnings and "Server or Interactive" in first.warnings[0]
    before = files(first.tree)
    maker.package(maker.run("b", scenarios=("Server",)), division="closed")
    maker.package(maker.run("c"), division="closed", system_name="4xGPU")
    after = files(first.tree)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"closed/Org/documentation/calibration.md"}
    assert "4xGPU" in (first.tree / "closed/Org/documentation/calibration.md").read_text()
    assert len(list((first.tree / "closed/Org/systems").iterdir())) == 2


def test_another_result_is_replaced_only_on_request(maker: Maker) -> None:
    tree = maker.package(maker.run("a"), division="closed").tree
    before = files(tree)
    run = maker.run("b", detail={"result_completed_tokens_per_second": 99.0})
    with pytest.raises(FolderError, match="--replace"):
        maker.package(run, division="closed")
    assert files(tree) == before
    maker.package(run, division="closed", replace=True)
    assert (
        "| 99 tokens/s |" in (tree / "closed/Org/results/8xGPU/llama2-70b-99.9/Server/README.md").read_text()
    )


def test_replacing_leaves_nothing_of_the_old_result(maker: Maker) -> None:
    tree = maker.package(maker.run("a"), division="open").tree
    run = maker.run("b")
    for scenario in Scenario:
        shutil.rmtree(run / scenario / "TEST06")
    maker.package(run, replace=True)
    assert not [name for name in files(tree) if "TEST06" in name]
