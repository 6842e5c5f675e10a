"""Accuracy runs: logs, scores against their gates, hashes, truncation."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from mutation.faults.edits import ANSWERS, DETAIL, SUMMARY, place, replace, run, set_log
from mutation.faults.registry import fault

if TYPE_CHECKING:
    from pathlib import Path


@fault("accuracy.log")
def accuracy_detail_missing(tree: Path) -> None:
    (place(tree) / "accuracy" / DETAIL).unlink()


@fault("accuracy.mode")
def performance_log_in_accuracy(tree: Path) -> None:
    shutil.copy(run(tree) / DETAIL, place(tree) / "accuracy" / DETAIL)


@fault("accuracy.summary")
def accuracy_summary_missing(tree: Path) -> None:
    (place(tree) / "accuracy" / SUMMARY).unlink()


@fault("accuracy.sample-count")
def accuracy_over_half_the_data_set(tree: Path) -> None:
    set_log(place(tree) / "accuracy" / DETAIL, effective_accuracy_sample_count=12288)


@fault("accuracy.rouge1")
def rouge1_just_below_the_gate(tree: Path) -> None:
    replace(place(tree) / "accuracy" / "accuracy.txt", "44.4312", "44.3867")


@fault("accuracy.rougeL")
def rougel_missing(tree: Path) -> None:
    replace(place(tree) / "accuracy" / "accuracy.txt", "'rougeL': 28.6162, ", "")


@fault("accuracy.tokens_per_sample")
def tokens_per_sample_above_the_window(tree: Path) -> None:
    replace(place(tree) / "accuracy" / "accuracy.txt", "294.4", "323.9")


@fault("accuracy.tokens_per_sample")
def tokens_per_sample_below_the_window(tree: Path) -> None:
    replace(place(tree, "Offline") / "accuracy" / "accuracy.txt", "294.4", "265.0")


@fault("accuracy.form")
def scores_in_numpy_form(tree: Path) -> None:
    replace(place(tree) / "accuracy" / "accuracy.txt", "44.4312", "np.float64(44.4312)")


@fault("accuracy.file")
def accuracy_txt_missing(tree: Path) -> None:
    (place(tree) / "accuracy" / "accuracy.txt").unlink()


@fault("accuracy.hash")
def hash_line_missing(tree: Path) -> None:
    path = place(tree) / "accuracy" / "accuracy.txt"
    path.write_text(path.read_text().partition("hash=")[0])


@fault("accuracy.hash", "note")
def hash_of_an_older_log_too(tree: Path) -> None:
    path = place(tree) / "accuracy" / "accuracy.txt"
    path.write_text(f"{path.read_text()}hash={'ab' * 32}\n")


@fault("accuracy.hash")
def hash_too_short(tree: Path) -> None:
    path = place(tree) / "accuracy" / "accuracy.txt"
    path.write_text(path.read_text()[:-9] + "\n")


@fault("accuracy.truncated")
def accuracy_log_not_truncated(tree: Path) -> None:
    path = place(tree) / "accuracy" / ANSWERS
    path.write_bytes(path.read_bytes() + b"\n" * 4096)


@fault("accuracy.answered-samples")
def accuracy_log_of_other_samples(tree: Path) -> None:
    path = place(tree) / "accuracy" / ANSWERS
    head, _, rest = path.read_text().partition('"qsl_idx" : ')
    path.write_text(f'{head}"qsl_idx" : 24576{rest[rest.index(",") :]}')


@fault("accuracy.token-counts")
def token_count_not_the_length(tree: Path) -> None:
    path = place(tree) / "accuracy" / ANSWERS
    path.write_text(path.read_text().replace('"token_count" : 294', '"token_count" : 295', 1))


@fault("accuracy.answers")
def accuracy_log_missing(tree: Path) -> None:
    (place(tree) / "accuracy" / ANSWERS).unlink()


@fault("accuracy.hash")
def whole_log_with_the_hash_of_another(tree: Path) -> None:
    path = place(tree) / "accuracy" / ANSWERS
    entry = '{ "seq_id" : 0, "qsl_idx" : 1, "data" : "0300000004000000", "token_count" : 2 }'
    path.write_text(f"[\n{entry}\n]\n")


@fault("accuracy.rouge1")
def accuracy_below_the_gate_and_then_a_better_one(tree: Path) -> None:
    path = place(tree) / "accuracy" / "accuracy.txt"
    path.write_text(path.read_text().replace("44.4312", "44.3").partition("\n")[0] + "\n" + path.read_text())


@fault("accuracy.tokens_per_sample")
def accuracy_of_long_answers_and_then_of_shorter_ones(tree: Path) -> None:
    path = place(tree) / "accuracy" / "accuracy.txt"
    path.write_text(path.read_text().replace("294.4", "400.0").partition("\n")[0] + "\n" + path.read_text())
