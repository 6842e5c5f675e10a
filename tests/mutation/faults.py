"""Single faults for the good tree: each breaks one thing, and names the check that must see it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mutation.good_tree import BENCHMARK, SUBMITTER, SYSTEM, system_description

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DETAIL = "mlperf_log_detail.txt"
SUMMARY = "mlperf_log_summary.txt"
ANSWERS = "mlperf_log_accuracy.json"
PREFIX = ":::MLLOG "


@dataclass(frozen=True)
class Fault:
    """One change to the good tree, and the check that must fail."""

    name: str
    expected: str
    apply: Callable[[Path], object]


FAULTS: list[Fault] = []


def fault(expected: str) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    def register(function: Callable[[Path], object]) -> Callable[[Path], object]:
        FAULTS.append(Fault(function.__name__, expected, function))
        return function

    return register


def org(tree: Path) -> Path:
    return tree / "closed" / SUBMITTER


def place(tree: Path, scenario: str = "Server") -> Path:
    return org(tree) / "results" / SYSTEM / BENCHMARK / scenario


def run(tree: Path, scenario: str = "Server") -> Path:
    return place(tree, scenario) / "performance" / "run_1"


def system_file(tree: Path) -> Path:
    return org(tree) / "systems" / f"{SYSTEM}.json"


def set_log(path: Path, **values: object) -> None:
    """Give keys of a detail log other values, in place."""
    lines = path.read_text().splitlines()
    left = dict(values)
    for number, line in enumerate(lines):
        record = json.loads(line[len(PREFIX) :])
        if record["key"] in left:
            record["value"] = left.pop(record["key"])
            lines[number] = PREFIX + json.dumps(record)
    assert not left, left
    path.write_text("\n".join(lines) + "\n")


def add_line(path: Path, key: str, value: object, **metadata: object) -> None:
    record = {"key": key, "value": value, "metadata": {"is_error": False, "is_warning": False, **metadata}}
    lines = path.read_text().splitlines()
    lines.insert(len(lines) - 2, PREFIX + json.dumps(record))
    path.write_text("\n".join(lines) + "\n")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new))


def drop(path: Path, key: str) -> None:
    """Remove a key from a JSON file."""
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))


# Logs that are missing, cut, or of something else.


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


# Verdict, errors, seeds, durations, counts.


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


# Latency.


@fault("latency.limits")
def interactive_run_under_server_limits(tree: Path) -> None:
    for name in (DETAIL, SUMMARY):
        shutil.copy(run(tree) / name, run(tree, "Interactive") / name)


@fault("latency.limits")
def tpot_limit_one_ms_looser(tree: Path) -> None:
    set_log(run(tree, "Interactive") / DETAIL, requested_server_tpot_latency=41_000_000)


@fault("latency.early-stopping-tpot")
def one_sample_over_what_early_stopping_allows(tree: Path) -> None:
    # 210 of 24,576 over: LoadGen asks for 24,608 queries, 32 more.
    set_log(
        run(tree) / DETAIL,
        early_stopping_tpot_result=" * Run unsuccessful.  * Would need to run at least 32 more queries,",
        result_time_to_output_token_max=200_000_001,
    )


@fault("latency.early-stopping-ttft")
def p99_over_limit_but_called_valid(tree: Path) -> None:
    set_log(
        run(tree) / DETAIL,
        **{
            "result_first_token_99.00_percentile_latency_ns": 2_000_000_001,
            "result_first_token_99.90_percentile_latency_ns": 2_000_000_001,
            "result_first_token_max_latency_ns": 2_000_000_001,
        },
    )


@fault("latency.ttft")
def ttft_exactly_at_the_limit(tree: Path) -> None:
    set_log(run(tree) / DETAIL, **{"result_first_token_99.00_percentile_latency_ns": 2_000_000_000})


@fault("latency.tpot")
def tpot_over_the_limit(tree: Path) -> None:
    set_log(
        run(tree, "Interactive") / DETAIL, **{"result_time_per_output_token_99.00_percentile_ns": 40_000_001}
    )


@fault("latency.tpot")
def negative_tpot(tree: Path) -> None:
    set_log(run(tree) / DETAIL, **{"result_time_per_output_token_99.00_percentile_ns": -3665})


@fault("latency.early-stopping-ttft")
def latencies_in_contradiction(tree: Path) -> None:
    set_log(run(tree) / DETAIL, result_first_token_max_latency_ns="fast")


@fault("latency.percentile")
def percentile_lowered(tree: Path) -> None:
    set_log(run(tree) / DETAIL, effective_target_latency_percentile=0.9)


@fault("latency.schedule")
def rate_raised_in_the_log(tree: Path) -> None:
    set_log(run(tree) / DETAIL, effective_target_qps=44, requested_server_target_qps=44)


@fault("latency.schedule")
def schedule_of_another_seed(tree: Path) -> None:
    set_log(run(tree) / DETAIL, generated_query_duration=615_000_000_000)


# user.conf.


@fault("conf.file")
def user_conf_missing(tree: Path) -> None:
    (place(tree) / "user.conf").unlink()


@fault("performance.user-conf")
def user_conf_of_another_run(tree: Path) -> None:
    replace(
        place(tree) / "user.conf", "llama2-70b.Server.target_qps = 40", "llama2-70b.Server.target_qps = 42"
    )


@fault("accuracy.user-conf")
def accuracy_run_of_another_user_conf(tree: Path) -> None:
    set_log(place(tree) / "accuracy" / DETAIL, requested_min_duration_ms=0)


@fault("conf.models")
def user_conf_names_no_model(tree: Path) -> None:
    replace(place(tree) / "user.conf", "llama2-70b.Offline.target_qps", "lama2-70b.Offline.target_qps")


@fault("conf.lines")
def user_conf_with_an_unknown_key(tree: Path) -> None:
    path = place(tree) / "user.conf"
    path.write_text(path.read_text() + "*.Server.min_durations = 600000\n")


@fault("conf.target-qps")
def user_conf_without_rate(tree: Path) -> None:
    replace(place(tree, "Offline") / "user.conf", "llama2-70b.Offline.target_qps = 35\n", "")


@fault("conf.closed")
def user_conf_with_own_limits(tree: Path) -> None:
    path = place(tree) / "user.conf"
    path.write_text(path.read_text() + "llama2-70b.Server.ttft_latency = 2000\n")


# Accuracy.


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


# Compliance.


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


@fault("compliance.TEST06-errors")
def error_in_test06(tree: Path) -> None:
    path = place(tree) / "TEST06" / "performance" / "run_1" / DETAIL
    add_line(path, "error_runtime", "Attempted to complete a sample twice.", is_error=True)


@fault("compliance.TEST06-settings")
def test06_with_equal_issue(tree: Path) -> None:
    path = place(tree) / "TEST06" / "performance" / "run_1" / DETAIL
    set_log(path, requested_sample_concatenate_permutation=True)


@fault("compliance.TEST06-settings")
def test06_with_another_seed(tree: Path) -> None:
    path = place(tree) / "TEST06" / "performance" / "run_1" / DETAIL
    set_log(path, requested_accuracy_log_rng_seed=1)


# Description, measurements, documents, source.


@fault("system.file")
def system_description_missing(tree: Path) -> None:
    system_file(tree).unlink()


@fault("system.file")
def system_description_no_json(tree: Path) -> None:
    system_file(tree).write_text("{'division': 'closed'}")


@fault("system.host_processor_model_name")
def system_field_missing(tree: Path) -> None:
    drop(system_file(tree), "host_processor_model_name")


@fault("system.cooling")
def system_field_empty(tree: Path) -> None:
    system_file(tree).write_text(json.dumps(system_description() | {"cooling": ""}))


@fault("system.division")
def system_of_the_wrong_division(tree: Path) -> None:
    system_file(tree).write_text(json.dumps(system_description("open")))


@fault("system.submitter")
def system_of_another_submitter(tree: Path) -> None:
    system_file(tree).write_text(json.dumps(system_description() | {"submitter": "OtherOrg"}))


@fault("system.status")
def system_status_unknown(tree: Path) -> None:
    system_file(tree).write_text(json.dumps(system_description() | {"status": "soon"}))


@fault("system.accelerators_per_node")
def system_with_a_count_in_words(tree: Path) -> None:
    system_file(tree).write_text(json.dumps(system_description() | {"accelerators_per_node": "eight"}))


@fault("system.system_type")
def system_type_unknown(tree: Path) -> None:
    system_file(tree).write_text(json.dumps(system_description() | {"system_type": "data center"}))


@fault("system.is_network")
def networked_system_in_closed(tree: Path) -> None:
    system_file(tree).write_text(json.dumps(system_description() | {"is_network": "true"}))


@fault("system.file")
def system_description_under_another_name(tree: Path) -> None:
    system_file(tree).rename(system_file(tree).with_name(f"{SYSTEM}_v2.json"))


@fault("measurements.fields")
def measurement_field_empty(tree: Path) -> None:
    path = place(tree) / "measurements.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"retraining": ""}))


@fault("measurements.file")
def measurements_missing(tree: Path) -> None:
    (place(tree) / "measurements.json").unlink()


@fault("measurements.fields")
def measurement_field_missing(tree: Path) -> None:
    drop(place(tree) / "measurements.json", "weight_data_types")


@fault("readme.file")
def readme_missing(tree: Path) -> None:
    (place(tree, "Offline") / "README.md").unlink()


@fault("readme.file")
def readme_blank(tree: Path) -> None:
    (place(tree, "Offline") / "README.md").write_text("\n \n")


@fault("documentation.calibration")
def documentation_missing(tree: Path) -> None:
    shutil.rmtree(org(tree) / "documentation")


@fault("documentation.calibration")
def calibration_empty(tree: Path) -> None:
    (org(tree) / "documentation" / "calibration.md").write_text("")


@fault("documentation.bandwidth")
def network_path_not_described(tree: Path) -> None:
    (org(tree) / "documentation" / "bandwidth.md").unlink()


@fault("source.folder")
def source_holds_only_an_empty_folder(tree: Path) -> None:
    shutil.rmtree(org(tree) / "src")
    (org(tree) / "src" / BENCHMARK).mkdir(parents=True)


@fault("source.folder")
def source_missing(tree: Path) -> None:
    shutil.rmtree(org(tree) / "src")


@fault("tree.simulated")
def simulated_run_in_closed(tree: Path) -> None:
    path = place(tree) / "README.md"
    path.write_text(path.read_text() + "\nThis run is simulated, not a result.\n")


# Shape of the tree, and files as such.


@fault("tree.submitter")
def no_submitter(tree: Path) -> None:
    shutil.rmtree(org(tree))


@fault("tree.benchmark")
def benchmark_with_a_typing_error(tree: Path) -> None:
    place(tree).parent.rename(place(tree).parent.with_name("llama-2-70b-99.9"))


@fault("tree.scenarios")
def scenario_that_the_benchmark_lacks(tree: Path) -> None:
    shutil.copytree(place(tree, "Offline"), place(tree, "SingleStream"))


@fault("tree.divisions")
def division_misspelt(tree: Path) -> None:
    (tree / "closed").rename(tree / "Closed")


@fault("tree.benchmark")
def benchmark_that_the_round_dropped(tree: Path) -> None:
    place(tree).parent.rename(place(tree).parent.with_name("llama2-70b-99"))


@fault("tree.benchmark")
def benchmark_by_its_conf_name(tree: Path) -> None:
    place(tree).parent.rename(place(tree).parent.with_name("llama2-70b"))


@fault("tree.scenarios")
def no_offline(tree: Path) -> None:
    shutil.rmtree(place(tree, "Offline"))


@fault("tree.scenarios")
def neither_server_nor_interactive(tree: Path) -> None:
    shutil.rmtree(place(tree, "Server"))
    shutil.rmtree(place(tree, "Interactive"))


@fault("tree.scenarios")
def scenario_misspelt(tree: Path) -> None:
    place(tree).rename(place(tree).with_name("server"))


@fault("tree.layout")
def layout_of_an_older_round(tree: Path) -> None:
    (org(tree) / "measurements").mkdir()


@fault("tree.model-mapping")
def model_mapping_in_closed(tree: Path) -> None:
    (org(tree) / "model_mapping.json").write_text("{}")


@fault("tree.results")
def results_empty(tree: Path) -> None:
    shutil.rmtree(org(tree) / "results" / SYSTEM)


@fault("files.links")
def log_is_a_link(tree: Path) -> None:
    (run(tree) / DETAIL).rename(org(tree) / "src" / "log.txt")
    (run(tree) / DETAIL).symlink_to(org(tree) / "src" / "log.txt")


@fault("files.links")
def link_to_itself(tree: Path) -> None:
    (org(tree) / "src" / "loop").symlink_to(org(tree) / "src")


@fault("files.encoding")
def readme_in_another_encoding(tree: Path) -> None:
    (place(tree) / "README.md").write_bytes("Größe: 8 GPUs".encode("latin-1"))


@fault("files.encoding")
def user_conf_in_utf16(tree: Path) -> None:
    path = place(tree) / "user.conf"
    path.write_bytes(path.read_text().encode("utf-16"))


@fault("files.size")
def file_too_large(tree: Path) -> None:
    with (org(tree) / "src" / "weights.bin").open("wb") as file:
        file.truncate(52_428_801)


@fault("files.names")
def name_with_a_blank(tree: Path) -> None:
    (org(tree) / "src" / "my script.py").write_text("pass\n")


@fault("files.names")
def names_that_differ_by_case(tree: Path) -> None:
    (org(tree) / "src" / "RUN.py").write_text("pass\n")


@fault("files.junk")
def cache_folder(tree: Path) -> None:
    (org(tree) / "src" / "__pycache__").mkdir()


@fault("files.plain")
def named_pipe(tree: Path) -> None:
    os.mkfifo(run(tree) / "pipe.txt")
