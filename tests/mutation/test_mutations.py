"""From a tree in which nothing is wrong, each single fault is refused, and by the check that it breaks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mutation.faults import FAULTS, Fault
from mutation.good_tree import build

from harness_llm.check import check_tree
from harness_llm.check.render import render

FEWEST_FAULTS = 60


@pytest.fixture(scope="session")
def good_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("mutation") / "good")


def test_the_good_tree_passes_and_is_no_empty_pass(good_tree: Path) -> None:
    report = check_tree(good_tree, "v6.1", "closed")
    assert report.failures == ()
    assert report.passed and report.label == "official" and not report.simulated
    judged = {check.name for check in report.checks if check.passed}
    # These names exist only as failures or notes; every other check that a fault breaks has passed here.
    only_failures = {
        "compliance.TEST06",
        "tree.engine",
        "tree.power",
        "tree.simulated",
        "tree.results",
        "tree.model-mapping",
        "tree.submitter",
    }
    expected = {fault.expected for fault in FAULTS} - only_failures
    assert {name for name in expected if name == "system.file" or not name.startswith("system.")} <= judged


def test_there_are_enough_faults_and_each_name_is_used_once() -> None:
    assert len(FAULTS) >= FEWEST_FAULTS
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_the_documentation_counts_them() -> None:
    text = (Path(__file__).parents[2] / "docs" / "check.md").read_text()
    assert f"holds {len(FAULTS)} single" in text


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_refused_by_name(fault: Fault, good_tree: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(good_tree, tree)
    fault.apply(tree)
    report = check_tree(tree, "v6.1", "closed")
    assert report.passed == (fault.word == "note"), report.failures
    seen = {check.name: check for check in report.checks if check.verdict == fault.word}
    assert fault.expected in seen, sorted(seen)
    check = seen[fault.expected]
    assert check.found and check.required and bool(check.remedy) == (fault.word == "fail")
    json.dumps(report.to_json())
    assert fault.expected in render(report, only_failures=fault.word == "fail")


def test_a_tree_of_another_round_has_other_seeds_and_layout(good_tree: Path) -> None:
    for round_name in ("v5.0", "v5.1", "v6.0"):
        failed = {check.name for check in check_tree(good_tree, round_name).failures}
        assert "performance.seeds" in failed, round_name
        assert ("tree.layout" in failed) == round_name.startswith("v5")
