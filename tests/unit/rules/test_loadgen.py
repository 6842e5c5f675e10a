"""The table and the user.conf reader against LoadGen itself: its embedded mlperf.conf, and its own parser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness_llm import rules
from harness_llm.config.user_conf import UserConf
from harness_llm.core import Scenario

if TYPE_CHECKING:
    from pathlib import Path

loadgen = pytest.importorskip("mlperf_loadgen")

FIELDS = (
    "qsl_rng_seed",
    "sample_index_rng_seed",
    "schedule_rng_seed",
    "use_token_latencies",
    "sample_concatenate_permutation",
    "performance_sample_count_override",
    "accuracy_sample_count_override",
    "min_duration_ms",
    "min_query_count",
    "ttft_latency",
    "tpot_latency",
    "server_target_latency_percentile",
)
NEWEST = {benchmark: rules.rounds_of(benchmark)[-1] for benchmark in rules.table().benchmarks}
OFFICIAL = [
    (benchmark, scenario)
    for benchmark, round_name in NEWEST.items()
    for scenario in Scenario
    for found in [rules.lookup(benchmark, round_name)]
    if found is not None and scenario in found.row.allowed
]


def _rules(benchmark: str) -> rules.BenchmarkRules:
    found = rules.lookup(benchmark, NEWEST[benchmark])
    assert found is not None
    return found


def embedded(model: str, scenario: Scenario) -> dict[str, Any]:
    """TestSettings as LoadGen's embedded mlperf.conf makes them (conf_type 0 reads no file)."""
    settings = loadgen.TestSettings()
    assert settings.FromConfig("", model, scenario.loadgen_name, 0) == 0
    return {field: getattr(settings, field) for field in FIELDS}


def test_there_are_benchmarks_to_compare() -> None:
    assert sum(NEWEST[benchmark] == "v6.1" for benchmark, _ in OFFICIAL) == 12
    assert len(OFFICIAL) == 24


@pytest.mark.parametrize(("benchmark", "scenario"), OFFICIAL)
def test_the_table_says_what_the_embedded_conf_says(benchmark: str, scenario: Scenario) -> None:
    settings = embedded(rules.loadgen_model(benchmark, scenario), scenario)
    assert rules.compare_with_loadgen(settings, _rules(benchmark), scenario) == []
    found = _rules(benchmark)
    assert settings["performance_sample_count_override"] == found.samples.performance
    if scenario is Scenario.OFFLINE and found.samples.offline_queries is not None:
        assert settings["min_query_count"] == found.samples.offline_queries


@pytest.mark.parametrize(("benchmark", "scenario"), OFFICIAL)
def test_a_changed_value_of_any_benchmark_is_a_difference(benchmark: str, scenario: Scenario) -> None:
    """Also of one that the newest round has no more, such as mixtral-8x7b."""
    settings = embedded(rules.loadgen_model(benchmark, scenario), scenario)
    changed = {**settings, "performance_sample_count_override": 1}
    (found,) = rules.compare_with_loadgen(changed, _rules(benchmark), scenario)
    assert f"the rules of {NEWEST[benchmark]} have" in found
    if scenario.is_timed_per_token:
        changed = {**settings, "server_target_latency_percentile": 0.9}
        assert (
            "server_target_latency_percentile = 0.9"
            in rules.compare_with_loadgen(changed, _rules(benchmark), scenario)[0]
        )


def test_a_mistyped_model_is_seen_as_a_difference() -> None:
    settings = embedded("llama2-70", Scenario.SERVER)
    found = rules.compare_with_loadgen(settings, _rules("llama2-70b-99.9"), Scenario.SERVER, "v6.1")
    assert len(found) >= 4
    assert any("use_token_latencies = False" in sentence for sentence in found)


def test_every_conf_name_is_known_to_the_embedded_conf() -> None:
    unknown = embedded("no-such-model", Scenario.SERVER)
    only_server_limits = {"dlrm-v3", "rnnt", "bert"}  # named for other keys than these fields
    for name in rules.conf_names() - only_server_limits - {"3d-unet"}:
        assert embedded(name, Scenario.SERVER) != unknown, name


@pytest.mark.parametrize("scenario", list(Scenario))
def test_our_reader_takes_what_loadgen_takes(tmp_path: Path, scenario: Scenario) -> None:
    path = tmp_path / "user.conf"
    path.write_text(
        "m.*.use_token_latencies = 1\n"
        "m.Server.target_qps = 7.25\n*.Offline.target_qps = 3\n"
        "m.Server.ttft_latency = 450\n*.Server.tpot_latency = 40\n"
        "*.Server.min_duration = 1000\nm.*.min_duration = 2000\n*.*.min_duration = 3000\n"
        "*.*.min_query_count = 11\nm.Offline.min_query_count = 12\n"
        "m-interactive.Server.target_qps = 9\nm-interactive.*.use_token_latencies = 1\n"
    )
    model = rules.loadgen_model("m", scenario)
    settings = loadgen.TestSettings()
    assert settings.FromConfig(str(path), model, scenario.loadgen_name, 2) == 0
    ours = UserConf.read(path).settings_for(model, scenario)
    rate = settings.offline_expected_qps if scenario is Scenario.OFFLINE else settings.server_target_qps
    assert ours["target_qps"] == rate
    assert ours["min_duration"] == settings.min_duration_ms
    assert ours["min_query_count"] == settings.min_query_count
    assert bool(ours["use_token_latencies"]) == settings.use_token_latencies
    if scenario is not Scenario.OFFLINE:
        assert ours["tpot_latency"] * 10**6 == settings.tpot_latency
        assert ("ttft_latency" in ours) == (scenario is Scenario.SERVER)
        assert (
            settings.ttft_latency == ours.get("ttft_latency", 100) * 10**6
        )  # 100 ms is LoadGen's own default
