"""Samples that one test has for itself: `harness_config.tests`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness_llm.config.load import dump_config, load_config
from harness_llm.datasets.prompts import Prompts
from harness_llm.errors import ConfigError

GOOD = """\
llm_config:
  model: /m
harness_config:
  benchmark: mine
  scenario: Server
  dataset: {kind: synthetic, shape: "10:4:4"}
  max_tokens: 8
"""
OWN = "harness_config.tests={TEST07: {dataset: jsonl, dataset_path: a.jsonl}}"


def _write(folder: Path, text: str) -> Path:
    path = folder / "case.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_test_may_have_samples_of_its_own(tmp_path: Path) -> None:
    path = _write(tmp_path, GOOD)
    config = load_config(path, [OWN, "harness_config.tests.TEST07.max_tokens=77"])
    own = config.harness_config.tests["TEST07"]
    assert (own.dataset, own.max_tokens) == (Prompts(kind="jsonl", path=Path("a.jsonl")), 77)
    assert load_config(_write(tmp_path, dump_config(config))) == config
    assert load_config(_write(tmp_path, GOOD)).harness_config.tests == {}


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("harness_config.tests={performance: {dataset: jsonl, dataset_path: a}}", "no test 'performance'"),
        (
            "harness_config.tests={TEST7: {dataset: jsonl, dataset_path: a}}",
            "known: accuracy, TEST06",
        ),
        ("harness_config.tests={TEST07: {dataset: jsonl}}", "TEST07.dataset.path is missing"),
        ("harness_config.tests={TEST07: {dataset: synthetic}}", "TEST07.dataset.shape is missing"),
        (
            OWN.replace("a.jsonl", "a.jsonl, dataset_shape: '1:2:3'"),
            "tests.TEST07.dataset_shape is now harness_config.tests.TEST07.dataset.shape",
        ),
        (OWN.replace("dataset_path", "dataset_pth"), "did you mean 'dataset_path'"),
        (OWN.replace("a.jsonl", "a.jsonl, max_tokens: 1"), "max_tokens"),
        ("harness_config.tests=[TEST07]", "harness_config.tests"),
    ],
)
def test_a_wrong_entry_of_tests_is_named(tmp_path: Path, override: str, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        load_config(_write(tmp_path, GOOD), [override])
