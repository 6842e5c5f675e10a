"""Edits that are made wherever the figure stands, so that only what follows from it betrays them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mutation.faults.edits import DETAIL, SUMMARY, place, replace, run, set_log, set_system
from mutation.faults.registry import fault

if TYPE_CHECKING:
    from pathlib import Path

_FORMS = {
    "test_datetime": "%Y-%m-%dT%H:%M:%SZ",
    "power_begin": "%m-%d-%Y %H:%M:%S.%f",
    "power_end": "%m-%d-%Y %H:%M:%S.%f",
}


def _move(path: Path, by: timedelta, *keys: str) -> None:
    """Give dates of a detail log another time."""
    text = path.read_text()
    for key in keys:
        found = re.search(rf'"key": "{key}", "value": "([^"]+)"', text)
        assert found, key
        moved = (datetime.strptime(found[1], _FORMS[key]) + by).strftime(_FORMS[key])
        text = text.replace(found[0], found[0].replace(found[1], moved.removesuffix("000")))
    path.write_text(text)


@fault("performance.dates")
def test_that_began_five_minutes_later(tree: Path) -> None:
    _move(run(tree) / DETAIL, timedelta(minutes=5), "test_datetime")


@fault("performance.dates")
def clock_of_the_log_a_tenth_faster(tree: Path) -> None:
    path = run(tree) / DETAIL
    faster = re.sub(
        r'("time_ms": )([\d.]+)', lambda found: f"{found[1]}{float(found[2]) * 1.1:.6f}", path.read_text()
    )
    path.write_text(faster)


@fault("compliance.TEST06-dates")
def test06_whose_end_is_an_hour_and_a_minute_later(tree: Path) -> None:
    _move(place(tree) / "TEST06/performance/run_1" / DETAIL, timedelta(minutes=61), "power_end")


@fault("accuracy.days-apart")
def every_date_of_the_accuracy_run_a_month_later(tree: Path) -> None:
    _move(place(tree) / "accuracy" / DETAIL, timedelta(days=30), *_FORMS)


@fault("performance.log-lines")
def digests_of_loadgen_left_out_of_every_log(tree: Path) -> None:
    for path in tree.rglob(DETAIL):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if '"loadgen_file_sha1"' not in line))


@fault("compliance.TEST06-log-lines")
def why_a_compliance_run_is_invalid_left_out(tree: Path) -> None:
    path = place(tree) / "TEST06/performance/run_1" / DETAIL
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"result_invalid_reason"' not in line]
    assert len(kept) < len(lines)
    path.write_text("".join(kept))


@fault("performance.effective-settings")
def a_target_latency_in_offline(tree: Path) -> None:
    set_log(run(tree, "Offline") / DETAIL, effective_target_latency_ns=1)


@fault("accuracy.summary-agrees")
def count_of_warnings_left_out_of_a_summary(tree: Path) -> None:
    path = place(tree, "Offline") / "accuracy" / SUMMARY
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "warning" not in line))


@fault("performance.length-agrees")
def four_percent_more_tokens_in_offline(tree: Path) -> None:
    path = run(tree, "Offline")
    set_log(path / DETAIL, result_tokens_per_second=12461.0)
    replace(path / SUMMARY, "Tokens per second: 11981.7", "Tokens per second: 12461")


@fault("accuracy.figures")
def answers_scored_that_are_not_all(tree: Path) -> None:
    replace(place(tree) / "accuracy/accuracy.txt", "{'rouge1'", "{'gen_num': 24000, 'rouge1'")


@fault("accuracy.figures")
def mean_length_that_is_not_tokens_over_answers(tree: Path) -> None:
    sums = "{'gen_num': 24576, 'gen_tok_len': 7000000, 'rouge1'"
    replace(place(tree) / "accuracy/accuracy.txt", "{'rouge1'", sums)


@fault("system.number_of_nodes")
def system_of_no_node(tree: Path) -> None:
    set_system(tree, number_of_nodes="0")


@fault("system.host_memory_capacity")
def memory_below_nothing(tree: Path) -> None:
    set_system(tree, host_memory_capacity="-1 TB")


@fault("tree.power", "note")
def power_measurements_beside_the_run(tree: Path) -> None:
    (place(tree) / "performance/power").mkdir()
    (place(tree) / "performance/power/spl.txt").write_text("Time,21.11.2026,Watts,1\n")
