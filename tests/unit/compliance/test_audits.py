"""Compliance tests behind their seam: one class for each row of the rules, and what each can verify again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness_llm import rules
from harness_llm.compliance import AUDIT_TESTS, AuditTest, Evidence, is_audit_name
from harness_llm.core import Scenario

EOS = 2
ENDS = frozenset({EOS})
LENGTH = {"TEST06": 3, "TEST07": 2, "TEST09": 1200}
Lines = list[dict[str, object]]


def _lines(test: str) -> Lines:
    tokens = np.full(LENGTH[test], 7, "<i4")
    tokens[-1] = EOS
    answer = {
        "data": tokens.tobytes().hex().upper(), "token_data": tokens[:1].tobytes().hex().upper(),
        "token_count": len(tokens),
    }  # fmt: skip
    count = rules.compliance_test(test).audit["min_query_count"]
    return [{"seq_id": index, "qsl_idx": index, **answer} for index in range(count)]


def _write(path: Path, lines: Lines) -> Path:
    path.write_text("[\n" + ",\n".join(json.dumps(line) for line in lines) + "\n]\n")
    return path


def _agree(test: AuditTest, log: Path) -> tuple[bool, list[str]]:
    """Whether verification and a second look say the same, and the faults of the latter."""
    verdict = test.verify(Evidence(log, Scenario.SERVER, ENDS, score=90.0))
    found = test.recheck(log, Scenario.SERVER, ENDS)
    assert verdict.passed is not test.says_failed(verdict.text)
    lines = test.verdict_lines(Scenario.SERVER)
    assert all(line.in_(verdict.text)[0] for line in lines) is verdict.passed
    return verdict.passed is (not found.faults), list(found.faults)


def test_every_compliance_test_of_the_rules_has_its_class() -> None:
    assert list(AUDIT_TESTS) == sorted(rules.table().tests)
    assert all(name == test.name for name, test in AUDIT_TESTS.items())


@pytest.mark.parametrize("test", AUDIT_TESTS.values(), ids=lambda test: test.name)
def test_a_good_run_is_good_at_a_second_look(test: AuditTest, tmp_path: Path) -> None:
    agrees, faults = _agree(test, _write(tmp_path / "log.json", _lines(test.name)))
    assert agrees and not faults
    assert test.recheck(tmp_path / "log.json", Scenario.SERVER, ENDS).source


def _miscount(lines: Lines) -> None:
    lines[3]["token_count"] = 1


def _first_token(lines: Lines) -> None:
    lines[0]["token_data"] = "FF000000"


def _end_twice(lines: Lines) -> None:
    lines[5]["data"] = str(lines[5]["data"])[:-16] + "0200000002000000"


def _lose_one(lines: Lines) -> None:
    lines.pop()


def _shorten(lines: Lines) -> None:
    for line in lines:
        line["data"] = str(line["data"])[: 8 * 100]
        line["token_count"] = 100


FAULTS: list[tuple[str, Callable[[Lines], None], str]] = [
    ("TEST06", _miscount, "sample 3: token_count 1"),
    ("TEST06", _first_token, "sample 0: reported first token FF000000"),
    ("TEST06", _end_twice, "sample 5: ends with end of sequence twice"),
    ("TEST07", _lose_one, "answers to 989 of 990 samples"),
    ("TEST09", _lose_one, "answers to 6395 of 6396 samples"),
    ("TEST09", _shorten, "100.00 tokens in the mean"),
]


@pytest.mark.parametrize(("name", "damage", "said"), FAULTS)
def test_what_verification_finds_a_second_look_finds_too(
    tmp_path: Path, name: str, damage: Callable[[Lines], None], said: str
) -> None:
    lines = _lines(name)
    damage(lines)
    agrees, faults = _agree(AUDIT_TESTS[name], _write(tmp_path / "log.json", lines))
    assert agrees and any(fault.startswith(said) for fault in faults), faults


DAMAGED = ("", "[\n", "\0", "[\n]\n", '[\n{"seq_id": 1', '[\n{"qsl_idx": "x"}\n]')


@pytest.mark.parametrize("test", AUDIT_TESTS.values(), ids=lambda test: test.name)
@pytest.mark.parametrize("text", DAMAGED)
def test_a_second_look_raises_nothing_and_believes_nothing(
    test: AuditTest, text: str, tmp_path: Path
) -> None:
    log = tmp_path / "log.json"
    assert test.recheck(log, Scenario.SERVER, ENDS).faults, "the log is missing"
    log.write_text(text)
    assert test.recheck(log, Scenario.SERVER, ENDS).faults


@pytest.mark.parametrize("test", AUDIT_TESTS.values(), ids=lambda test: test.name)
def test_a_trees_files_are_found_where_the_tree_and_the_run_have_them(
    test: AuditTest, tmp_path: Path
) -> None:
    files = {file.path.name: file for file in test.tree_files}
    assert set(files) == {"mlperf_log_summary.txt", "mlperf_log_detail.txt", "mlperf_log_accuracy.json"}
    assert [name for name, file in files.items() if file.is_cut] == (
        [] if test.name == "TEST06" else ["mlperf_log_accuracy.json"]
    )
    for name, file in files.items():
        assert test.find(tmp_path, name) is None
        (tmp_path / name).write_text("run")
        assert test.find(tmp_path, name) == tmp_path / name
        placed = tmp_path / file.path
        placed.parent.mkdir(parents=True, exist_ok=True)
        placed.write_text("tree")
        assert test.find(tmp_path, name) == placed


def test_loadgens_names_of_the_audit_settings() -> None:
    found = AUDIT_TESTS["TEST07"].logged_settings(Scenario.INTERACTIVE)
    assert found["effective_test_mode"] == "PerformanceOnly" and found["effective_scenario"] == "Server"
    assert found["requested_min_duration_ms"] == 0 and found["requested_performance_issue_unique"] == 1
    assert "requested_mode" not in found and "requested_min_duration" not in found


@pytest.mark.parametrize(("name", "is_one"), [("TEST06", True), ("TEST01", True), ("performance", False)])
def test_a_folder_of_another_compliance_test_is_known_as_one(name: str, is_one: bool) -> None:
    assert is_audit_name(name) is is_one
