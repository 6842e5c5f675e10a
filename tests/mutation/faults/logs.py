"""Logs of a performance run that are missing, cut, or of something else."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from mutation.faults.edits import ANSWERS, DETAIL, SUMMARY, add_line, place, run, set_log
from mutation.faults.registry import fault

if TYPE_CHECKING:
    from pathlib import Path


@fault("performance.log")
def detail_log_missing(tree: Path) -> None:
    (run(tree) / DETAIL).unlink()


@fault("performance.log")
def detail_log_empty(tree: Path) -> None:
    (run(tree) / DETAIL).write_text("")


@fault("performance.log")
def detail_log_cut_in_a_line(tree: Path) -> None:
    content = (run(tree) / DETAIL).read_bytes()
    (run(tree) / DETAIL).write_bytes(content[:-700])


@fault("performance.log")
def detail_log_cut_at_a_line(tree: Path) -> None:
    lines = (run(tree, "Offline") / DETAIL).read_text().splitlines()
    (run(tree, "Offline") / DETAIL).write_text("\n".join(lines[:-1]) + "\n")


@fault("performance.log")
def detail_log_binary(tree: Path) -> None:
    (run(tree) / DETAIL).write_bytes(bytes(range(256)) * 64)


@fault("performance.log")
def detail_log_is_a_folder(tree: Path) -> None:
    (run(tree) / DETAIL).unlink()
    (run(tree) / DETAIL).mkdir()


@fault("performance.log")
def detail_log_edited_into_prose(tree: Path) -> None:
    path = run(tree) / DETAIL
    path.write_text(path.read_text() + "All good, trust us.\n")


@fault("performance.log-unaltered")
def result_line_added_again(tree: Path) -> None:
    add_line(run(tree) / DETAIL, "result_completed_tokens_per_second", 99999.9)


@fault("performance.log-unaltered")
def lines_of_two_processes(tree: Path) -> None:
    add_line(run(tree) / DETAIL, "generic_message", "hello", pid=1)


@fault("performance.summary")
def summary_missing(tree: Path) -> None:
    (run(tree) / SUMMARY).unlink()


@fault("performance.summary")
def summary_cut(tree: Path) -> None:
    path = run(tree) / SUMMARY
    path.write_text(path.read_text()[:900])


@fault("performance.summary-agrees")
def summary_of_another_run(tree: Path) -> None:
    shutil.copy(run(tree, "Interactive") / SUMMARY, run(tree) / SUMMARY)


@fault("performance.summary-agrees")
def tokens_per_second_raised_in_detail(tree: Path) -> None:
    set_log(run(tree, "Offline") / DETAIL, result_tokens_per_second=12981.7)


@fault("performance.mode")
def accuracy_log_in_performance(tree: Path) -> None:
    shutil.copy(place(tree) / "accuracy" / DETAIL, run(tree) / DETAIL)


@fault("performance.scenario")
def offline_log_filed_as_server(tree: Path) -> None:
    for name in (DETAIL, SUMMARY):
        shutil.copy(run(tree, "Offline") / name, run(tree) / name)


@fault("performance.no-answers")
def answers_in_a_performance_run(tree: Path) -> None:
    shutil.copy(place(tree) / "accuracy" / ANSWERS, run(tree) / ANSWERS)
