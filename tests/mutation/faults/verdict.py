"""A run that was not valid, not whole or not of these rules: verdict, errors, seeds, durations, counts."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from mutation.faults.edits import (
    ANSWERS,
    DETAIL,
    SUMMARY,
    add_line,
    org,
    place,
    replace,
    run,
    set_log,
    system_file,
)
from mutation.faults.registry import fault
from mutation.good_tree import SYSTEM

from harness_llm.logs.accuracy_log import CUT, KEPT_BYTES
from harness_llm.logs.detail import DetailLog
from harness_llm.logs.draws import Draw, issued_samples, loaded_order

if TYPE_CHECKING:
    from pathlib import Path


@fault("performance.validity")
def invalid_offline_run(tree: Path) -> None:
    set_log(run(tree, "Offline") / DETAIL, result_validity="INVALID")
    replace(run(tree, "Offline") / SUMMARY, "Result is : VALID", "Result is : INVALID")


@fault("performance.constraints")
def min_queries_unmet(tree: Path) -> None:
    set_log(run(tree) / DETAIL, result_min_queries_met=False)


@fault("performance.errors")
def one_error_line(tree: Path) -> None:
    text = "Number of tokens need to be greater than 1"
    add_line(run(tree) / DETAIL, "error_runtime", text, is_error=True)


@fault("performance.errors")
def errors_counted_but_not_shown(tree: Path) -> None:
    set_log(run(tree) / DETAIL, num_errors=3)


@fault("accuracy.errors")
def error_in_the_accuracy_run(tree: Path) -> None:
    text = "Attempted to complete a sample twice."
    add_line(place(tree) / "accuracy" / DETAIL, "error_runtime", text, is_error=True)


@fault("performance.errors")
def two_conf_files(tree: Path) -> None:
    text = "Multiple conf files are used. This is not valid for official submission."
    add_line(run(tree, "Offline") / DETAIL, "error_invalid_config", text, is_error=True)


@fault("performance.loadgen")
def loadgen_with_local_changes(tree: Path) -> None:
    set_log(run(tree) / DETAIL, loadgen_git_status_message=" M loadgen/loadgen.cc")


@fault("performance.seeds")
def one_seed_changed(tree: Path) -> None:
    set_log(run(tree) / DETAIL, effective_qsl_rng_seed=2085463073848966841)


@fault("performance.seeds")
def seeds_of_the_round_before(tree: Path) -> None:
    set_log(
        run(tree, "Offline") / DETAIL,
        effective_qsl_rng_seed=2465351861681999779,
        effective_sample_index_rng_seed=14276810075590677512,
        effective_schedule_rng_seed=3936089224930324775,
    )


@fault("accuracy.seeds")
def seed_changed_in_accuracy(tree: Path) -> None:
    set_log(place(tree) / "accuracy" / DETAIL, effective_sample_index_rng_seed=7)


@fault("accuracy.seeds", "note")
def accuracy_run_without_seeds(tree: Path) -> None:
    """As LoadGen runs without mlperf.conf: seeds 0, and the order and the samples that they give."""
    folder = place(tree, "Offline") / "accuracy"
    seeds = ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed")
    zero = {f"{kind}_{key}": 0 for kind in ("requested", "effective") for key in seeds}
    set_log(folder / DETAIL, **zero, loaded_qsl_set=list(loaded_order(0, 24576)))
    draw = Draw.of_log(DetailLog.read(folder / DETAIL))
    assert draw is not None
    samples = next(issued_samples(draw))
    text = (folder / ANSWERS).read_text()
    entry = re.compile(r'"seq_id" : (\d+), "qsl_idx" : \d+')
    text = entry.sub(lambda found: f'"seq_id" : {found[1]}, "qsl_idx" : {samples[int(found[1])]}', text)
    head, tail = text.split(CUT.decode())
    head, tail = head.ljust(KEPT_BYTES, "0")[:KEPT_BYTES], tail.rjust(KEPT_BYTES, "0")[-KEPT_BYTES:]
    (folder / ANSWERS).write_text(head + CUT.decode() + tail)


@fault("accuracy.scenario")
def accuracy_run_of_another_scenario(tree: Path) -> None:
    shutil.copy(place(tree, "Offline") / "accuracy" / DETAIL, place(tree) / "accuracy" / DETAIL)


@fault("performance.no-audit")
def one_sample_issued_again_and_again(tree: Path) -> None:
    set_log(run(tree) / DETAIL, effective_performance_issue_same=True)


@fault("performance.no-audit")
def query_count_capped(tree: Path) -> None:
    set_log(run(tree) / DETAIL, effective_max_query_count=24576)


@fault("performance.duration")
def offline_shorter_than_600_s(tree: Path) -> None:
    set_log(run(tree, "Offline") / DETAIL, result_max_latency_ns=599_999_999_999)


@fault("performance.min-duration")
def min_duration_lowered(tree: Path) -> None:
    set_log(run(tree) / DETAIL, effective_min_duration_ms=120000, requested_min_duration_ms=120000)


@fault("performance.duration")
def server_arrivals_end_early(tree: Path) -> None:
    set_log(run(tree) / DETAIL, result_scheduled_samples_per_sec=41.0)


@fault("performance.sample-count")
def fewer_loaded_samples(tree: Path) -> None:
    set_log(run(tree, "Offline") / DETAIL, effective_performance_sample_count=24575)


@fault("performance.issued")
def offline_one_sample_short(tree: Path) -> None:
    set_log(run(tree, "Offline") / DETAIL, generated_samples_per_query=24575)


@fault("performance.issued")
def server_not_whole_copies(tree: Path) -> None:
    set_log(run(tree) / DETAIL, result_query_count=24577, generated_query_count=24577)


@fault("performance.equal-issue")
def equal_issue_off(tree: Path) -> None:
    set_log(run(tree) / DETAIL, effective_sample_concatenate_permutation=False)


@fault("performance.token-latencies")
def token_latencies_off(tree: Path) -> None:
    set_log(run(tree) / DETAIL, requested_use_token_latencies=False)


@fault("performance.no-audit")
def audit_config_left_behind(tree: Path) -> None:
    set_log(run(tree) / DETAIL, effective_accuracy_log_sampling_target=100)


@fault("performance.metric")
def no_tokens_counted(tree: Path) -> None:
    set_log(run(tree, "Offline") / DETAIL, result_tokens_per_second=0)


@fault("tree.distinct-runs")
def log_of_another_system(tree: Path) -> None:
    """A second system, described, whose logs were copied from the first."""
    results = org(tree) / "results"
    shutil.copytree(results / SYSTEM, results / "16xTest_GPU")
    shutil.copy(system_file(tree), org(tree) / "systems" / "16xTest_GPU.json")


@fault("tree.runs")
def second_performance_run(tree: Path) -> None:
    shutil.copytree(run(tree), run(tree).with_name("run_2"))


@fault("performance.log")
def run_folder_misnamed(tree: Path) -> None:
    run(tree).rename(run(tree).with_name("run_01"))
