"""Compliance runs: missing, failed, or of other settings."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from mutation.faults.edits import ANSWERS, DETAIL, SUMMARY, add_line, place, replace, run, set_log
from mutation.faults.registry import fault

if TYPE_CHECKING:
    from pathlib import Path


@fault("compliance.TEST06")
def no_test06(tree: Path) -> None:
    shutil.rmtree(place(tree, "Interactive") / "TEST06")


@fault("compliance.TEST06-first-token")
def first_token_check_failed(tree: Path) -> None:
    replace(
        place(tree) / "TEST06" / "verify_accuracy.txt", "token check pass: True", "token check pass: False"
    )


@fault("compliance.TEST06-first-token")
def first_token_check_skipped_in_server(tree: Path) -> None:
    replace(
        place(tree) / "TEST06" / "verify_accuracy.txt", "token check pass: True", "token check pass: Skipped"
    )


@fault("compliance.TEST06-eos")
def eos_check_failed(tree: Path) -> None:
    replace(place(tree) / "TEST06" / "verify_accuracy.txt", "EOS check pass: True", "EOS check pass: False")


@fault("compliance.TEST06-length")
def verification_file_missing(tree: Path) -> None:
    (place(tree, "Offline") / "TEST06" / "verify_accuracy.txt").unlink()


@fault("compliance.TEST06-answers")
def another_first_token_than_reported(tree: Path) -> None:
    path = place(tree) / "TEST06" / "accuracy" / ANSWERS
    head, _, rest = path.read_text().partition('"token_data" : "')
    path.write_text(f'{head}"token_data" : "FF{rest[2:]}')


@fault("compliance.TEST06-answers")
def end_of_sequence_twice(tree: Path) -> None:
    path = place(tree) / "TEST06" / "accuracy" / ANSWERS
    head, _, rest = path.read_text().partition('", "token_data"')
    path.write_text(f'{head[:-16]}0200000002000000", "token_data"{rest}')


@fault("compliance.TEST06-settings")
def test06_of_the_performance_run(tree: Path) -> None:
    shutil.copy(run(tree) / DETAIL, place(tree) / "TEST06" / "performance" / "run_1" / DETAIL)


@fault("compliance.TEST06-errors", "note")
def error_in_test06(tree: Path) -> None:
    run_1 = place(tree) / "TEST06" / "performance" / "run_1"
    add_line(run_1 / DETAIL, "error_runtime", "Attempted to complete a sample twice.", is_error=True)
    set_log(run_1 / DETAIL, num_errors=1)
    replace(run_1 / SUMMARY, "No errors encountered during test.", "1 ERROR encountered. See detailed log.")


@fault("compliance.TEST06-settings")
def test06_with_equal_issue(tree: Path) -> None:
    path = place(tree) / "TEST06" / "performance" / "run_1" / DETAIL
    set_log(path, requested_sample_concatenate_permutation=True)


@fault("compliance.TEST06-settings")
def test06_with_another_seed(tree: Path) -> None:
    path = place(tree) / "TEST06" / "performance" / "run_1" / DETAIL
    set_log(path, requested_accuracy_log_rng_seed=1)
