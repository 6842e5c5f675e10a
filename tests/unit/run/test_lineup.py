"""What a submission of one benchmark runs on one kind of GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness_llm.benchmark import resolve
from harness_llm.config.load import load_config
from harness_llm.errors import ConfigError
from harness_llm.run.lineup import line_up


def test_all_scenarios_that_have_a_configuration_run_with_the_tests_of_the_round() -> None:
    lineup = line_up(resolve("llama2-70b-99.9"), "h200")
    assert [path.name for path in lineup.profiles] == [
        "offline_h200.yaml", "server_h200.yaml", "interactive_h200.yaml",
    ]  # fmt: skip
    assert lineup.tests == ("performance", "accuracy", "TEST06")
    assert line_up(resolve("gpt-oss-120b"), "h200").tests[2:] == ("TEST07", "TEST09")


def test_scenarios_and_tests_can_be_named() -> None:
    lineup = line_up(resolve("llama2-70b"), "mi300x", scenarios=["Server"], tests=["performance"])
    assert [path.name for path in lineup.profiles] == ["server_mi300x.yaml"]
    assert lineup.tests == ("performance",)


@pytest.mark.parametrize(("gpu", "scenarios"), [("h2000", ()), ("h200", ("ofline",))])
def test_a_missing_configuration_is_named_with_what_there_is(gpu: str, scenarios: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=f"_{gpu}.yaml") as caught:
        line_up(resolve("llama2-70b"), gpu, scenarios=scenarios)
    assert "offline_h200" in caught.value.remedy


def test_a_benchmark_without_configurations_is_refused() -> None:
    with pytest.raises(ConfigError, match="no configurations are shipped"):
        line_up(resolve("my-own-model"), "h200")


@pytest.mark.parametrize(
    ("benchmark", "shapes", "shape"),
    [
        ("llama2-70b-99.9", (), "24576:64:294"),
        ("llama2-70b-99.9", ("100:8:9",), "100:8:9"),
        ("llama2-70b-99.9", ("9",), "24576:64:9"),
        ("llama3.1-8b", (), "13368:64:128"),
        ("gpt-oss-120b", (), "6396:64:1278"),
    ],
)
def test_a_rehearsal_runs_on_made_up_samples_of_the_benchmarks_shape(
    benchmark: str, shapes: tuple[str, ...], shape: str
) -> None:
    lineup = line_up(resolve(benchmark), "h200", rehearsal=True, shapes=shapes, user_conf=Path("user.conf"))
    config = load_config(lineup.profiles[0], lineup.overrides)
    assert config.engine.is_simulated
    assert getattr(config.harness_config.dataset, "shape") == shape  # noqa: B009 - of one kind of data set
    assert config.harness_config.user_conf == Path("user.conf")


def test_a_rehearsals_test_of_other_samples_has_a_shape_of_its_own() -> None:
    lineup = line_up(resolve("gpt-oss-120b"), "h200", rehearsal=True)
    assert any(
        "TEST07: {dataset: {kind: synthetic, shape: '990:64:1278'}}" in text for text in lineup.overrides
    )
    load_config(lineup.profiles[0], lineup.overrides)
    with pytest.raises(ConfigError, match="has no such test"):
        line_up(resolve("gpt-oss-120b"), "h200", rehearsal=True, shapes=["TEST06=1:2:3"])
