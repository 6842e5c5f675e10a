"""Logs that are of another run: of other seeds, another benchmark, another LoadGen, or a copy."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

from mutation.faults.edits import (
    ANSWERS,
    DETAIL,
    PREFIX,
    SUMMARY,
    add_line,
    org,
    place,
    replace,
    run,
    set_log,
)
from mutation.faults.registry import fault
from mutation.good_tree import BENCHMARK, SYSTEM

if TYPE_CHECKING:
    from pathlib import Path

_AUDIT = "Found Audit Config file (audit.config). Overriding TestSettings from audit.config file."
_SEEDS_OF_V60 = {
    "qsl_rng_seed": 2465351861681999779,
    "sample_index_rng_seed": 14276810075590677512,
    "schedule_rng_seed": 3936089224930324775,
}


def _test06(tree: Path, scenario: str = "Server") -> Path:
    return place(tree, scenario) / "TEST06" / "performance" / "run_1"


def _set_seeds(path: Path) -> None:
    """The seeds of another round wherever the log has them."""
    for kind in ("requested", "effective"):
        set_log(path, **{f"{kind}_{key}": value for key, value in _SEEDS_OF_V60.items()})


def _add_first(path: Path, key: str, value: str) -> None:
    """A warning, after the first line of the settings."""
    lines = path.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if '"requested_scenario"' in line)
    record = json.loads(lines[at][len(PREFIX) :]) | {"key": key, "value": value}
    record["metadata"]["is_warning"] = True
    lines.insert(at, PREFIX + json.dumps(record))
    path.write_text("\n".join(lines) + "\n")


# ---------------------------------------------------------------------------- a log against itself


@fault("performance.effective-settings")
def setting_that_was_not_requested(tree: Path) -> None:
    set_log(run(tree) / DETAIL, effective_max_async_queries=64)


@fault("performance.queries")
def more_queries_than_the_schedule_needs(tree: Path) -> None:
    path = run(tree) / DETAIL
    set_log(path, generated_query_count=49152, result_query_count=49152)


@fault("accuracy.queries")
def accuracy_run_of_fewer_queries(tree: Path) -> None:
    set_log(place(tree) / "accuracy" / DETAIL, generated_query_count=24575)


@fault("performance.loaded-samples")
def two_samples_loaded_in_the_place_of_each_other(tree: Path) -> None:
    path = run(tree, "Offline") / DETAIL
    replace(path, '"value": [8851,6860,', '"value": [6860,8851,')


@fault("performance.loaded-samples")
def seeds_rewritten_in_an_offline_log(tree: Path) -> None:
    _set_seeds(run(tree, "Offline") / DETAIL)


@fault("performance.dates")
def run_before_loadgen_was_built(tree: Path) -> None:
    path = run(tree) / DETAIL
    path.write_text(
        path.read_text().replace("2026-11-21T", "2025-11-21T").replace("11-21-2026", "11-21-2025")
    )


@fault("accuracy.dates")
def accuracy_run_dated_elsewhere(tree: Path) -> None:
    path = place(tree) / "accuracy" / DETAIL
    path.write_text(path.read_text().replace("2026-11-21T", "2026-09-21T"))


@fault("performance.audit-config")
def audit_config_in_a_performance_run(tree: Path) -> None:
    _add_first(run(tree) / DETAIL, "warning_generic_message", _AUDIT)


@fault("accuracy.loadgen")
def accuracy_run_of_a_changed_loadgen(tree: Path) -> None:
    set_log(place(tree) / "accuracy" / DETAIL, loadgen_git_status_message=" M loadgen/loadgen.cc")


@fault("performance.loadgen")
def version_of_another_commit(tree: Path) -> None:
    set_log(run(tree) / DETAIL, loadgen_version="6.0.17 @ 0123456789")


# ---------------------------------------------------------------------------- figures that follow from others


@fault("performance.verdict")
def valid_though_a_constraint_is_not_met(tree: Path) -> None:
    set_log(run(tree, "Offline") / DETAIL, result_min_queries_met=False)


@fault("performance.means")
def mean_that_the_percentiles_forbid(tree: Path) -> None:
    path = run(tree, "Offline")
    set_log(path / DETAIL, result_mean_latency_ns=590_000_000_000)
    text = (path / SUMMARY).read_text()
    (path / SUMMARY).write_text(re.sub(r"(Mean latency \(ns\) +: )\d+", r"\g<1>590000000000", text))


@fault("performance.means")
def first_token_later_than_the_last(tree: Path) -> None:
    set_log(run(tree) / DETAIL, result_first_token_max_latency_ns=10**12)


@fault("performance.token-rates")
def tokens_a_second_a_little_higher(tree: Path) -> None:
    path = run(tree)
    set_log(path / DETAIL, result_completed_tokens_per_second=11679.8)
    text = (path / SUMMARY).read_text()
    (path / SUMMARY).write_text(re.sub(r"(Completed tokens per second *: )[\d.]+", r"\g<1>11679.78", text))


@fault("performance.summary-agrees")
def mean_of_the_summary(tree: Path) -> None:
    path = run(tree) / SUMMARY
    path.write_text(re.sub(r"(Mean latency \(ns\) +: )\d+", r"\g<1>1", path.read_text()))


@fault("performance.summary-agrees")
def line_that_the_summary_lacks(tree: Path) -> None:
    path = run(tree) / SUMMARY
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("Scheduled samples")))


# ---------------------------------------------------------------------------- one log against another


@fault("accuracy.same-benchmark")
def accuracy_of_server_filed_as_interactive(tree: Path) -> None:
    shutil.rmtree(place(tree, "Interactive") / "accuracy")
    shutil.copytree(place(tree) / "accuracy", place(tree, "Interactive") / "accuracy")


@fault("accuracy.same-system")
def loadgen_of_one_commit_with_other_files(tree: Path) -> None:
    replace(place(tree) / "accuracy" / DETAIL, "86bc3765857092b9", "0000000000000000")


@fault("accuracy.same-system", "note")
def accuracy_run_of_another_sut_name(tree: Path) -> None:
    set_log(place(tree) / "accuracy" / DETAIL, sut_name="Network SUT: elsewhere")


@fault("accuracy.drawn-samples")
def answer_to_another_sample(tree: Path) -> None:
    path = place(tree) / "accuracy" / ANSWERS
    replace(path, '"seq_id" : 0, "qsl_idx" : 22372', '"seq_id" : 0, "qsl_idx" : 22371')


@fault("compliance.TEST06-drawn-samples")
def answers_of_the_accuracy_run_as_those_of_test06(tree: Path) -> None:
    shutil.copy(place(tree) / "accuracy" / ANSWERS, place(tree) / "TEST06" / "accuracy" / ANSWERS)


@fault("compliance.TEST06-same-benchmark")
def test06_of_server_filed_as_interactive(tree: Path) -> None:
    shutil.rmtree(place(tree, "Interactive") / "TEST06")
    shutil.copytree(place(tree) / "TEST06", place(tree, "Interactive") / "TEST06")


@fault("compliance.TEST06-same-benchmark")
def test06_of_another_data_set(tree: Path) -> None:
    set_log(_test06(tree) / DETAIL, qsl_reported_total_count=13368)


@fault("compliance.TEST06-seeds")
def test06_with_the_seeds_of_another_round(tree: Path) -> None:
    _set_seeds(_test06(tree) / DETAIL)


@fault("compliance.TEST06-audit-config")
def test06_without_audit_config(tree: Path) -> None:
    path = _test06(tree) / DETAIL
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "Found Audit Config" not in line))


@fault("compliance.TEST06-log")
def test06_without_its_log(tree: Path) -> None:
    shutil.rmtree(place(tree) / "TEST06" / "performance")


@fault("compliance.TEST06-answers")
def test06_without_its_answers(tree: Path) -> None:
    shutil.rmtree(place(tree) / "TEST06" / "accuracy")


@fault("compliance.TEST06-loadgen")
def test06_of_a_changed_loadgen(tree: Path) -> None:
    set_log(_test06(tree) / DETAIL, loadgen_git_status_message=" M loadgen/loadgen.cc")


@fault("compliance.TEST06-latencies")
def test06_with_a_latency_below_zero(tree: Path) -> None:
    set_log(_test06(tree) / DETAIL, result_min_latency_ns=-1)


@fault("compliance.TEST06-summary-agrees")
def summary_of_another_test06(tree: Path) -> None:
    shutil.copy(_test06(tree, "Interactive") / SUMMARY, _test06(tree) / SUMMARY)


# ---------------------------------------------------------------------------- copies


@fault("tree.distinct-runs")
def log_of_another_system_with_one_figure_changed(tree: Path) -> None:
    results = org(tree) / "results"
    shutil.copytree(results / SYSTEM, results / "16xTest_GPU")
    shutil.copy(org(tree) / "systems" / f"{SYSTEM}.json", org(tree) / "systems" / "16xTest_GPU.json")
    path = results / "16xTest_GPU" / BENCHMARK / "Offline" / "performance" / "run_1" / DETAIL
    path.write_text(re.sub(r'"pid": \d+', '"pid": 77', path.read_text()))


@fault("tree.distinct-files")
def summary_of_another_scenario(tree: Path) -> None:
    shutil.copy(run(tree, "Interactive") / SUMMARY, run(tree) / SUMMARY)


@fault("tree.distinct-hashes")
def hash_of_another_scenarios_answers(tree: Path) -> None:
    shutil.copy(
        place(tree) / "accuracy" / "accuracy.txt", place(tree, "Offline") / "accuracy" / "accuracy.txt"
    )


# ---------------------------------------------------------------------------- texts


@fault("measurements.retraining")
def retrained_weights_in_closed(tree: Path) -> None:
    replace(place(tree) / "measurements.json", '"retraining": "no"', '"retraining": "yes"')


@fault("measurements.weights", "note")
def weights_of_another_benchmark(tree: Path) -> None:
    replace(place(tree) / "measurements.json", "llama-2-70b-chat-hf", "Llama-3.1-8B-Instruct")


@fault("system.accelerators", "note")
def half_the_accelerators_of_the_name(tree: Path) -> None:
    replace(
        org(tree) / "systems" / f"{SYSTEM}.json",
        '"accelerators_per_node": "8"',
        '"accelerators_per_node": "4"',
    )


@fault("readme.file")
def readme_that_is_a_placeholder(tree: Path) -> None:
    """The word stands in published trees; here it is the fault itself."""
    (place(tree) / "README.md").write_text("TODO\n")


@fault("compliance.TEST06-errors")
def error_line_that_nobody_counted(tree: Path) -> None:
    add_line(_test06(tree) / DETAIL, "error_runtime", "Attempted to complete a sample twice.", is_error=True)
