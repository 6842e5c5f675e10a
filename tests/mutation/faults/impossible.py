"""Logs that contradict what LoadGen writes, or that no run of a model can have."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from mutation.faults.edits import ANSWERS, DETAIL, add_line, org, place, replace, run, set_log
from mutation.faults.registry import fault
from mutation.good_tree import SYSTEM

if TYPE_CHECKING:
    from pathlib import Path


@fault("performance.dates")
def loadgen_built_before_its_commit(tree: Path) -> None:
    path = run(tree) / DETAIL
    text = path.read_text().replace("2026-11-21T", "2024-11-21T").replace("11-21-2026", "11-21-2024")
    path.write_text(re.sub(r'("loadgen_build_date_\w+", "value": ")\d{4}', r"\g<1>2024", text))


@fault("performance.loadgen")
def version_of_another_round_in_every_log(tree: Path) -> None:
    for path in tree.rglob(DETAIL):
        text = re.sub(r'("loadgen_version", "value": ")[\d.]+', r"\g<1>5.0.0", path.read_text())
        path.write_text(text)


@fault("performance.errors")
def error_without_its_mark(tree: Path) -> None:
    add_line(run(tree) / DETAIL, "error_runtime", "Ran out of generated queries to issue.")


@fault("performance.log")
def value_twice_in_a_line(tree: Path) -> None:
    verdict = '"key": "result_validity", "value": "VALID"'
    replace(run(tree) / DETAIL, verdict, verdict.replace('"VALID"', '"INVALID", "value": "VALID"'))


@fault("accuracy.clock")
def accuracy_run_shorter_than_its_schedule(tree: Path) -> None:
    path = place(tree) / "accuracy" / DETAIL
    begin = re.search(r'"power_begin", "value": "([^"]+)', path.read_text())
    assert begin
    set_log(path, power_end=begin[1][:-3] + "999")


@fault("compliance.TEST06-eos")
def failed_verdict_below_a_passed_one(tree: Path) -> None:
    path = place(tree) / "TEST06" / "verify_accuracy.txt"
    path.write_text(path.read_text() + "EOS check pass: False\n")


@fault("tree.distinct-runs")
def measured_times_of_another_system_a_little_changed(tree: Path) -> None:
    other = "8xOther_GPU"
    shutil.copytree(org(tree) / "results" / SYSTEM, org(tree) / "results" / other)
    described = (org(tree) / "systems" / f"{SYSTEM}.json").read_text()
    (org(tree) / "systems" / f"{other}.json").write_text(described)
    for path in (org(tree) / "results" / other).rglob(DETAIL):
        text = re.sub(r'("time_ms": \d+\.\d{3})\d{3}', r"\g<1>777", path.read_text())
        path.write_text(re.sub(r'("result_\S+", "value": \d{7,})\d\d,', r"\g<1>77,", text))


@fault("compliance.TEST06-possible-answers")
def answers_with_tokens_that_no_model_has(tree: Path) -> None:
    path = place(tree) / "TEST06" / "accuracy" / ANSWERS
    path.write_text(re.sub(r'("data" : "\w{16})\w{8}', r"\g<1>FFFFFF7F", path.read_text()))


@fault("accuracy.truncated")
def answers_cut_elsewhere(tree: Path) -> None:
    path = place(tree) / "accuracy" / ANSWERS
    path.write_text(path.read_text().replace("\n\n...\n\n", "0\n\n...\n\n", 1))
