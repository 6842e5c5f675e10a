"""A user.conf that is missing, of another run, mistyped, or says what closed does not allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutation.faults.edits import place, replace
from mutation.faults.registry import fault

if TYPE_CHECKING:
    from pathlib import Path


@fault("conf.file")
def user_conf_missing(tree: Path) -> None:
    (place(tree) / "user.conf").unlink()


@fault("performance.user-conf", "note")
def user_conf_of_another_run(tree: Path) -> None:
    replace(
        place(tree) / "user.conf", "llama2-70b.Server.target_qps = 40", "llama2-70b.Server.target_qps = 42"
    )


@fault("accuracy.user-conf", "note")
def accuracy_run_of_another_user_conf(tree: Path) -> None:
    path = place(tree) / "user.conf"
    path.write_text(path.read_text() + "*.*.accuracy_sample_count_override = 24576\n")


@fault("conf.models")
def user_conf_names_no_model(tree: Path) -> None:
    replace(place(tree) / "user.conf", "llama2-70b.Offline.target_qps", "lama2-70b.Offline.target_qps")


@fault("conf.ignored-lines", "note")
def user_conf_with_a_key_of_another_program(tree: Path) -> None:
    path = place(tree) / "user.conf"
    path.write_text(path.read_text() + "*.Server.performance_sample_count = 24576\n")


@fault("conf.lines", "note")
def user_conf_with_a_mistyped_key(tree: Path) -> None:
    path = place(tree) / "user.conf"
    path.write_text(path.read_text() + "*.Server.min_durations = 600000\n")


@fault("conf.target-qps", "note")
def user_conf_without_rate(tree: Path) -> None:
    replace(place(tree, "Offline") / "user.conf", "llama2-70b.Offline.target_qps = 35\n", "")


@fault("conf.closed")
def user_conf_with_own_limits(tree: Path) -> None:
    path = place(tree) / "user.conf"
    path.write_text(path.read_text() + "llama2-70b.Server.ttft_latency = 2000\n")
