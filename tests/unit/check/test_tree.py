from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from golden.recorded import accuracy_hash, unpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation.good_tree import BENCHMARK, MEASUREMENTS, SUBMITTER, SYSTEM, build, system_description

from harness_llm.check import Check, Report, check_tree
from harness_llm.check.judgement import guarded
from harness_llm.check.render import render
from harness_llm.compliance import AUDIT_TESTS
from harness_llm.core import Scenario
from harness_llm.package.documents import Marks

NAMES = ["mlperf_log_detail.txt", "mlperf_log_summary.txt", "mlperf_log_accuracy.json", "accuracy.txt"]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(SCALARS, st.lists, max_leaves=4) | st.sampled_from([10**9, 10**18, -1, 1e-300, 1e308])


@pytest.fixture(scope="module")
def good_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("tree") / "good")


@pytest.fixture
def tree(good_tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good_tree, tmp_path / "tree"))


def failed(tree: Path, round_name: str = "v6.1") -> set[str]:
    return {check.name for check in check_tree(tree, round_name).failures}


def into_open(tree: Path) -> Path:
    """The good tree under open/; returns the submitter's folder."""
    (tree / "closed").rename(tree / "open")
    submitter = tree / "open" / SUBMITTER
    (submitter / "systems" / f"{SYSTEM}.json").write_text(json.dumps(system_description("open")))
    return submitter


def test_open_takes_any_accuracy_and_latency_but_no_invalid_run(tree: Path) -> None:
    submitter = into_open(tree)
    place = submitter / "results" / SYSTEM / BENCHMARK / "Server"
    text = (
        (place / "accuracy" / "accuracy.txt").read_text().replace("44.4312", "42.5").replace("294.4", "400.0")
    )
    (place / "accuracy" / "accuracy.txt").write_text(text)
    shutil.rmtree(place.with_name("Offline"))
    shutil.rmtree(place / "TEST06")
    shutil.rmtree(submitter / "documentation")
    assert failed(tree) == set()
    detail = place / "performance" / "run_1" / "mlperf_log_detail.txt"
    detail.write_text(detail.read_text().replace('"VALID"', '"INVALID"'))
    assert "performance.validity" in failed(tree)


def test_an_unofficial_benchmark_in_open(tmp_path: Path) -> None:
    tree = build(tmp_path / "tree")
    submitter = into_open(tree)
    shutil.rmtree(submitter / "results" / SYSTEM / BENCHMARK)
    for scenario in ("Offline", "Server"):
        place = submitter / "results" / SYSTEM / "toy" / scenario
        run = unpack(f"toy-{scenario.lower()}-valid", place / "performance" / "run_1")
        shutil.move(run / "user.conf", place / "user.conf")
        recorded = f"toy-{scenario.lower()}-accuracy"
        unpack(recorded, place / "accuracy")
        scores = f"{{'rouge1': 40.0}}\nhash={accuracy_hash(recorded)}\n"
        (place / "accuracy" / "accuracy.txt").write_text(scores)
        (place / "README.md").write_text("unofficial\n")
        (place / "measurements.json").write_text(json.dumps(MEASUREMENTS))
    report = check_tree(tree, "v6.1", "open")
    # 64 answers are larger than 10 KiB whole; everything else is as it must be.
    assert {check.name for check in report.failures} == {"accuracy.truncated"}
    assert report.label == "unofficial"
    assert [check.passed for check in report.checks if check.name == "tree.benchmark"] == [None]


def test_v5_trees_have_their_own_places(tree: Path) -> None:
    submitter = tree / "closed" / SUBMITTER
    (submitter / "src").rename(submitter / "code")
    for scenario in ("Offline", "Server", "Interactive"):
        below = Path(SYSTEM, BENCHMARK, scenario)
        documents, tests = submitter / "measurements" / below, submitter / "compliance" / below
        documents.mkdir(parents=True)
        tests.mkdir(parents=True)
        place = submitter / "results" / below
        for name in ("user.conf", "README.md"):
            (place / name).rename(documents / name)
        (place / "measurements.json").rename(documents / f"{SYSTEM}_harness_llm_{scenario}.json")
        (place / "TEST06").rename(tests / "TEST06")
    # Recorded with v6.1's LoadGen: the seeds alone are wrong for v5.1.
    assert failed(tree, "v5.1") == {"performance.seeds", "accuracy.seeds", "compliance.TEST06-seeds"}


def test_only_the_division_that_was_asked_for(tree: Path) -> None:
    assert check_tree(tree, "v6.1", "closed").passed
    report = check_tree(tree, "v6.1", "open")
    assert not report.passed
    assert {check.name for check in report.failures} == {"tree.divisions"}


@pytest.mark.parametrize("content", [None, "file", "loop", "empty division", "file as division"])
def test_what_is_no_tree(tmp_path: Path, content: str | None) -> None:
    tree = tmp_path / "tree"
    if content == "file":
        tree.write_text("x")
    elif content == "loop":
        tree.symlink_to(tree)
    elif content:
        tree.mkdir()
        if content == "empty division":
            (tree / "closed").mkdir()
        else:
            (tree / "closed").write_text("x")
    report = check_tree(tree)
    assert not report.passed and report.failures


def test_an_unknown_round(tree: Path) -> None:
    assert failed(tree, "v4.1") == {"tree.round"}


def test_gpt_oss_needs_test07_and_test09(tree: Path) -> None:
    benchmark = tree / "closed" / SUBMITTER / "results" / SYSTEM / BENCHMARK
    benchmark = benchmark.rename(benchmark.with_name("gpt-oss-120b"))
    assert {"compliance.TEST07", "compliance.TEST09"} <= failed(tree)
    for scenario in ("Offline", "Server", "Interactive"):
        shutil.rmtree(benchmark / scenario / "TEST06")
        for test, name in (("TEST07", "verify_accuracy.txt"), ("TEST09", "verify_output_len.txt")):
            (benchmark / scenario / test).mkdir()
            (benchmark / scenario / test / name).write_text("TEST PASS\n")
    nothing_ran = {
        f"compliance.{test}-{what}" for test in ("TEST07", "TEST09") for what in ("log", "answers")
    }
    assert {name for name in failed(tree) if name.startswith("compliance")} == nothing_ran
    (benchmark / "Server" / "TEST09" / "verify_output_len.txt").write_text("TEST FAIL\n")
    failures = {name for name in failed(tree) if name.startswith("compliance")}
    assert failures == nothing_ran | {"compliance.TEST09-output-length"}


def test_two_submitters_and_two_systems(tree: Path) -> None:
    closed = tree / "closed"
    shutil.copytree(closed / SUBMITTER, closed / "Other")
    assert failed(tree) == {"system.submitter", "tree.distinct-files", "tree.distinct-runs"}


def test_the_same_result_in_two_divisions_is_a_note(tree: Path) -> None:
    shutil.copytree(tree / "closed", tree / "open")
    (tree / "open" / SUBMITTER / "systems" / f"{SYSTEM}.json").write_text(
        json.dumps(system_description("open"))
    )
    assert failed(tree) == set()
    (told,) = (check for check in check_tree(tree).checks if check.name == "tree.distinct-divisions")
    assert told.verdict == "note" and f"open/{SUBMITTER}/results" in told.found


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files(tree: Path) -> None:
    place = tree / "closed" / SUBMITTER / "results" / SYSTEM / BENCHMARK / "Server"
    (place / "README.md").chmod(0)
    (place / "accuracy").chmod(0)
    try:
        assert {"files.readable", "accuracy.log"} <= failed(tree)
    finally:
        (place / "accuracy").chmod(0o755)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scenario=st.sampled_from(["Offline", "Server", "Interactive"]),
    name=st.sampled_from(NAMES),
    content=st.binary(max_size=400) | st.text(max_size=200).map(str.encode),
    keep=st.floats(0, 1),
)
def test_no_content_of_any_file_raises(
    good_tree: Path, tmp_path: Path, scenario: str, name: str, content: bytes, keep: float
) -> None:
    place = tmp_path / "closed" / SUBMITTER / "results" / SYSTEM / BENCHMARK / scenario
    if not place.exists():
        shutil.copytree(good_tree / "closed", tmp_path / "closed", dirs_exist_ok=True)
    below = "accuracy" if "accuracy" in name else "performance/run_1"
    relative = place.relative_to(tmp_path) / below / name
    original = (good_tree / relative).read_bytes()
    (tmp_path / relative).write_bytes(original[: int(len(original) * keep)] + content)
    report = check_tree(tmp_path, "v6.1", "closed")
    json.dumps(report.to_json()).encode()
    (tmp_path / relative).write_bytes(original)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
@pytest.mark.parametrize(
    "key",
    [
        "effective_schedule_rng_seed",
        "effective_target_qps",
        "generated_query_count",
        "generated_query_duration",
        "result_query_count",
        "result_first_token_max_latency_ns",
        "result_scheduled_samples_per_sec",
        "early_stopping_tpot_result",
        "effective_performance_sample_count",
    ],
)
def test_no_value_of_a_log_line_raises(good_tree: Path, tmp_path: Path, key: str, value: object) -> None:
    place = tmp_path / "closed" / SUBMITTER / "results" / SYSTEM / BENCHMARK / "Server"
    if not place.exists():
        shutil.copytree(good_tree / "closed", tmp_path / "closed", dirs_exist_ok=True)
        shutil.rmtree(place.with_name("Offline"))
        shutil.rmtree(place.with_name("Interactive"))
    path = place / "performance" / "run_1" / "mlperf_log_detail.txt"
    original = path.read_text()
    lines = [
        f":::MLLOG {json.dumps(record | {'value': value})}" if record["key"] == key else line
        for line in original.splitlines()
        for record in [json.loads(line.removeprefix(":::MLLOG "))]
    ]
    path.write_text("\n".join(lines) + "\n")
    json.dumps(check_tree(tmp_path, "v6.1", "closed").to_json()).encode()
    path.write_text(original)


def test_an_official_benchmark_that_is_no_llm_is_left_to_the_official_checker(tree: Path) -> None:
    place = tree / "closed" / SUBMITTER / "results" / SYSTEM / "stable-diffusion-xl" / "SingleStream"
    place.mkdir(parents=True)
    (place / "user.conf").write_text("nothing here is looked at\n")
    report = check_tree(tree, "v6.1", "closed")
    assert report.passed and report.label == "official"
    (told,) = (check for check in report.checks if check.passed is None and check.name == "tree.benchmark")
    assert "official checker" in told.found
    place.parent.rename(place.parent.with_name("gptj-99"))
    (check,) = check_tree(tree, "v6.1", "closed").failures[:1]
    assert check.name == "tree.benchmark" and "official in v5.0" in check.remedy


@pytest.mark.parametrize(
    ("name", "passed"), [("SingleStream", None), ("singlestream", None), ("Singlestreams", False)]
)
def test_a_scenario_of_edge_is_reported_in_open(tree: Path, name: str, passed: bool | None) -> None:
    place = into_open(tree) / "results" / SYSTEM / BENCHMARK
    (place / name).mkdir()
    found = [check.passed for check in check_tree(tree).checks if check.name == "tree.scenarios"]
    assert found == [passed]


def test_two_accuracy_levels_may_share_a_run_and_two_systems_may_not(tree: Path) -> None:
    submitter = into_open(tree)
    results = submitter / "results"
    shutil.copytree(results / SYSTEM / BENCHMARK, results / SYSTEM / "llama2-70b-99")
    assert "tree.distinct-runs" not in failed(tree)
    shutil.copytree(results / SYSTEM / BENCHMARK / "Server", results / "other" / BENCHMARK / "Server")
    (check,) = (c for c in check_tree(tree).failures if c.name == "tree.distinct-runs")
    assert f"results/{SYSTEM}/llama2-70b-99" in check.found and "results/other" in check.found


def test_a_failure_that_many_files_share_is_shown_once(tree: Path) -> None:
    report = check_tree(tree, "v6.0")
    seeds = [check for check in report.failures if check.name == "performance.seeds"]
    assert len(seeds) == 3
    text = render(report, only_failures=True)
    assert text.count("FAIL  performance.seeds") == 1
    assert all(check.path in text for check in seeds)
    assert len(report.to_json()["checks"]) == len(report.checks)


@pytest.mark.parametrize("is_simulated", [True, False])
@pytest.mark.parametrize("is_unofficial", [True, False])
def test_check_knows_a_result_by_the_marks_of_package(
    tree: Path, is_simulated: bool, is_unofficial: bool
) -> None:
    place = into_open(tree) / "results" / SYSTEM / BENCHMARK
    for readme in place.rglob("README.md"):
        readme.write_text(f"# A result\n\n{Marks(is_simulated, is_unofficial).text}\n")
    report = check_tree(tree)
    assert report.simulated is is_simulated
    assert report.label == ("unofficial" if is_unofficial else "official")


def test_a_result_that_is_marked_unofficial_is_called_so(tree: Path) -> None:
    place = into_open(tree) / "results" / SYSTEM / BENCHMARK
    for readme in place.rglob("README.md"):
        readme.write_text("**unofficial: not a result of an MLPerf benchmark.**\n")
    assert check_tree(tree).label == "unofficial"


def test_a_report_of_nothing_does_not_pass() -> None:
    assert not Report("tree", "x", "v6.1", "unofficial", False, ()).passed
    reported = Check("a.b", None, "x", "y")
    assert not Report("tree", "x", "v6.1", "unofficial", False, (reported,)).passed
    assert Report("tree", "x", "v6.1", "unofficial", False, (Check("a.b", True, "x", "y"), reported)).passed


def test_a_check_function_that_meets_broken_input_is_a_failed_check() -> None:
    def broken() -> list[Check]:
        raise ValueError("bad \x1b[31m \udcff bytes")

    (check,) = guarded("area", "some/path", broken)
    assert check.name == "area.readable" and check.passed is False
    assert "\x1b" not in check.found
    json.dumps(check.found).encode()


def test_a_folder_by_a_name_that_the_official_checker_maps_is_judged_as_what_it_means(tree: Path) -> None:
    benchmark = tree / "closed" / SUBMITTER / "results" / SYSTEM / BENCHMARK
    benchmark.rename(benchmark.with_name("llama3_1-8b"))
    report = check_tree(tree, "v6.1")
    (named,) = [check for check in report.checks if check.name == "tree.benchmark"]
    assert named.verdict == "note" and "judged as llama3.1-8b" in named.found
    # Judged in full, so that these logs of another benchmark are refused, at the places of this folder.
    failures = {check.name for check in report.failures if "llama3_1-8b" in check.path}
    assert {"accuracy.rougeLsum", "performance.sample-count"} & failures
    assert {"accuracy.sample-count", "performance.issued"} & failures


def test_a_folder_of_another_kind_of_benchmark_is_no_llm(tree: Path) -> None:
    benchmark = tree / "closed" / SUBMITTER / "results" / SYSTEM / BENCHMARK
    shutil.rmtree(benchmark)
    (benchmark.with_name("resnet50") / "Offline").mkdir(parents=True)
    report = check_tree(tree, "v6.1")
    (named,) = [check for check in report.checks if check.name == "tree.benchmark"]
    assert named.verdict == "note" and report.results == {}


def test_performance_issue_unique_is_asked_of_the_rounds_that_have_it() -> None:
    test = AUDIT_TESTS["TEST09"]
    key = "requested_performance_issue_unique"
    assert key in test.logged_settings(Scenario.OFFLINE, "v6.1")
    assert key not in test.logged_settings(Scenario.OFFLINE, "v6.0")


def into_network(tree: Path, **description: str) -> Path:
    """The good tree under network/, its system described as one behind a network; returns the submitter."""
    (tree / "closed").rename(tree / "network")
    submitter = tree / "network" / SUBMITTER
    described = {**system_description("network"), "is_network": "True", **description}
    (submitter / "systems" / f"{SYSTEM}.json").write_text(json.dumps(described))
    return submitter


def test_network_asks_for_a_system_behind_a_network_of_that_name(tree: Path) -> None:
    submitter = into_network(tree)
    found = {check.name: check for check in check_tree(tree, "v6.1").checks}
    named = found["performance.sut-name"]
    assert named.passed is False and "Network SUT" in named.required
    assert "system.is_network" not in found  # it is as it must be
    for log in submitter.rglob("performance/run_1/mlperf_log_*.txt"):
        log.write_text(log.read_text().replace("PySUT", "Network SUT"))
    assert "performance.sut-name" not in failed(tree)


@pytest.mark.parametrize(("division", "stated"), [("closed", "True"), ("network", "False")])
def test_is_network_must_fit_the_division(tree: Path, division: str, stated: str) -> None:
    if division == "network":
        into_network(tree, is_network=stated)
    else:
        path = tree / "closed" / SUBMITTER / "systems" / f"{SYSTEM}.json"
        path.write_text(json.dumps({**system_description(), "is_network": stated}))
    wrong = [check for check in check_tree(tree, "v6.1").failures if check.name == "system.is_network"]
    assert len(wrong) == 1 and division in wrong[0].required and wrong[0].remedy
