from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from harness_llm import rules
from harness_llm.core import Scenario
from harness_llm.rules.schema import Table

V61 = {"qsl_rng_seed": 2085463073848966840, "sample_index_rng_seed": 2747215439041700203}
V61_SETTINGS = {
    **V61,
    "schedule_rng_seed": 16159082839903944936,
    "use_token_latencies": True,
    "sample_concatenate_permutation": True,
    "performance_sample_count_override": 24576,
    "min_duration_ms": 600000,
    "ttft_latency": 2_000_000_000,
    "tpot_latency": 200_000_000,
}


LLAMA2 = rules.lookup("llama2-70b-99.9")


def rows(value: object, place: str = "table") -> Iterator[tuple[str, BaseModel]]:
    """Every part of the table that can have a source, with where it stands."""
    if isinstance(value, BaseModel):
        if "source" in type(value).model_fields:
            yield place, value
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from rows(inner, f"{place}.{key}")
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from rows(inner, f"{place}[{index}]")


def test_every_row_has_a_source() -> None:
    found = dict(rows(rules.table()))
    assert len(found) > 80
    assert [place for place, row in found.items() if not row.source] == []


def test_the_table_has_each_benchmark_and_round_that_the_project_promises() -> None:
    assert rules.rounds() == ("v5.0", "v5.1", "v6.0", "v6.1")
    promised = {
        "llama2-70b-99",
        "llama2-70b-99.9",
        "llama2-70b-interactive-99",
        "llama2-70b-interactive-99.9",
    }
    promised |= {"llama3.1-8b", "llama3.1-405b", "mixtral-8x7b", "gpt-oss-120b", "deepseek-r1"}
    assert set(rules.table().benchmarks) == promised


def test_every_source_names_a_listed_file_and_lines() -> None:
    sources = re.findall(r"source='([^']*)'", repr(rules.table()))
    assert len(sources) > 80
    for source in sources:
        for part in source.split(";"):
            name, _, lines = part.strip().partition(":")
            assert name in rules.table().files, source
            assert re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", lines), source


def test_expand_source_spells_repository_commit_file_and_line_out() -> None:
    expanded = rules.expand_source("conf:85,169; checker:1495")
    assert expanded.startswith("mlcommons/inference @b66003e1 loadgen/mlperf.conf lines 85, 169; ")
    assert expanded.endswith("constants.py line 1495")
    assert rules.expand_source("") == ""
    assert rules.expand_source("user.conf") == "user.conf"


def test_llama2_999_in_v61() -> None:
    found = rules.lookup("llama2-70b-99.9", "v6.1")
    assert found is not None
    assert [round(row.gate, 4) for row in found.accuracy] == [44.3868, 22.0132, 28.5876]
    assert (found.length.low, found.length.high) == (265.005, 323.895)
    assert found.latency[Scenario.INTERACTIVE].ttft_ns == 450_000_000
    assert found.latency[Scenario.INTERACTIVE].tpot_ns == 40_000_000
    assert found.row.required == (Scenario.OFFLINE,)
    assert set(found.row.one_of) == {Scenario.SERVER, Scenario.INTERACTIVE}
    assert list(found.tests) == ["TEST06"]
    assert found.min_duration_ms == 600_000


def test_a_benchmark_is_unofficial_where_its_round_lacks_it() -> None:
    assert rules.lookup("llama2-70b-99", "v6.1") is None
    assert rules.lookup("llama2-70b-99", "v6.0") is not None
    assert rules.lookup("smollm2-135m", "v6.1") is None
    assert rules.lookup("llama2-70b-99.9", "v9.9") is None
    assert rules.rounds_of("llama2-70b-interactive-99") == ("v5.0",)
    assert rules.rounds_of("smollm2-135m") == ()


def test_other_official_benchmarks_are_known_by_round_and_have_no_rules() -> None:
    assert rules.is_other_official("stable-diffusion-xl", "v6.1")
    assert rules.is_other_official("gptj-99", "v5.0") and not rules.is_other_official("gptj-99", "v6.1")
    assert not rules.is_other_official("smollm2-135m", "v6.1")
    assert not rules.is_other_official("resnet", "v9.9")
    for round_name in rules.rounds():
        own = {name for name in rules.table().benchmarks if rules.lookup(name, round_name)}
        others = rules.table().other_benchmarks[round_name].names
        assert len(others) > 10 and not own & others


def test_interactive_limits_exist_only_where_the_round_has_interactive() -> None:
    old = rules.lookup("deepseek-r1", "v5.1")
    new = rules.lookup("deepseek-r1", "v6.1")
    assert old is not None and new is not None
    assert Scenario.INTERACTIVE not in old.latency
    assert Scenario.INTERACTIVE in new.latency


@pytest.mark.parametrize(
    ("benchmark", "scenario", "model"),
    [
        ("llama2-70b-99.9", Scenario.SERVER, "llama2-70b"),
        ("llama2-70b-99.9", Scenario.INTERACTIVE, "llama2-70b-interactive"),
        ("llama2-70b-interactive-99", Scenario.SERVER, "llama2-70b-interactive"),
        ("llama3.1-8b", Scenario.OFFLINE, "llama3_1-8b"),
        ("smollm2-135m", Scenario.SERVER, "smollm2-135m"),
        ("smollm2-135m", Scenario.INTERACTIVE, "smollm2-135m-interactive"),
        ("qwen2.5-7b", Scenario.OFFLINE, "qwen2.5-7b"),
    ],
)
def test_loadgen_model(benchmark: str, scenario: Scenario, model: str) -> None:
    assert rules.loadgen_model(benchmark, scenario) == model


def test_rounds_have_distinct_seeds_and_are_found_by_them() -> None:
    for name in rules.rounds():
        seeds = rules.round_seeds(name)
        assert rules.round_of_seeds(seeds.qsl, seeds.sample_index, seeds.schedule) == name
    assert rules.round_of_seeds(1, 2, 3) is None
    with pytest.raises(KeyError):
        rules.round_seeds("v7.0")


def test_nearest_name() -> None:
    assert rules.nearest("lama2-70b-99.9") == "llama2-70b-99.9"
    assert rules.nearest("target_qbs", ["target_qps", "mode"]) == "target_qps"
    assert rules.nearest("zzz") is None


def test_comparison_with_the_right_loadgen_finds_nothing() -> None:
    assert rules.compare_with_loadgen(V61_SETTINGS, LLAMA2, Scenario.SERVER, "v6.1") == []
    longer = V61_SETTINGS | {"min_duration_ms": 2_400_000}
    assert rules.compare_with_loadgen(longer, LLAMA2, Scenario.SERVER, "v6.1") == []
    assert rules.compare_with_loadgen({}, LLAMA2, Scenario.SERVER) == []


def test_comparison_says_which_side_is_older() -> None:
    (older,) = rules.compare_with_loadgen(V61_SETTINGS, round_name="v6.0")
    assert "the round asked for is older than LoadGen" in older
    old = V61_SETTINGS | rules.round_seeds("v5.1").as_settings()
    (newer,) = rules.compare_with_loadgen(old, None, Scenario.SERVER, "v6.1")
    assert "those of v5.1: LoadGen is older" in newer
    (unknown,) = rules.compare_with_loadgen(V61_SETTINGS | {"schedule_rng_seed": 1}, round_name="v6.1")
    assert "LoadGen is newer than the table, or altered" in unknown


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ttft_latency", 1_999_000_000),
        ("tpot_latency", 0),
        ("use_token_latencies", False),
        ("min_duration_ms", 599_999),
        ("performance_sample_count_override", 24575),
    ],
)
def test_comparison_names_each_differing_value(key: str, value: object) -> None:
    (found,) = rules.compare_with_loadgen(V61_SETTINGS | {key: value}, LLAMA2, Scenario.SERVER, "v6.1")
    assert f"{key} = {value}" in found
    assert "user.conf overrides it or the table is older" in found


def test_the_table_is_strict() -> None:
    raw = rules.table().model_dump()
    with pytest.raises(ValidationError, match="extra"):
        Table.model_validate(raw | {"surprise": 1})
    raw["rounds"]["v6.1"]["seeds"]["qsl"] = "2085463073848966840"
    with pytest.raises(ValidationError, match="qsl"):
        Table.model_validate(raw)
